// Paths of lines in small diagrams.

/**
 * Coordinates of values between 0 and 1, from left to right; null for a missing value.
 *
 * @param box width and height of the image, and the margin for the stroke of the outermost values.
 */
export function points(values, { width, height, margin }) {
  const step = (width - 2 * margin) / Math.max(1, values.length - 1);
  const round = (number) => Math.round(10 * number) / 10;
  return values.map((value, index) =>
    value === null ? null : [round(margin + step * index), round(height - margin - value * (height - 2 * margin))],
  );
}

/** Path data. A missing value interrupts the line; a single value between two missing ones is a dot. */
export function lines(coordinates) {
  return coordinates.map((point, index) => {
    if (point === null) return "";
    const isFirst = index === 0 || coordinates[index - 1] === null;
    const isLast = index === coordinates.length - 1 || coordinates[index + 1] === null;
    return `${isFirst ? "M" : "L"}${point[0]} ${point[1]}${isFirst && isLast ? "h0.1" : ""}`;
  }).join("");
}

/** Path data of a dot at each point. */
export const dots = (coordinates) => coordinates.filter(Boolean).map(([x, y]) => `M${x} ${y}h0.1`).join("");

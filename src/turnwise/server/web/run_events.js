// What the events of a run say: losses, speed, replies, and how far it is.

const SPEED_STEPS = 20; // over which the speed is averaged

/** The state before the first event. */
export const newProgress = () => ({ total: 0, step: 0, losses: [], validations: [], speeds: [], first: [], samples: [] });

/** Change the state by an event. */
export function applyEvent(state, event) {
  const { event: name, step } = event;
  const add = (list, value) => typeof value === "number" && state[list].push({ step, value });
  if (name === "start") { // a resumed training repeats the steps since its checkpoint
    Object.assign(state, { total: event.total_steps, step, phase: null });
    for (const list of ["losses", "validations", "speeds"]) state[list] = state[list].filter((entry) => entry.step <= step);
  } else if (name === "step") {
    state.step = step;
    add("losses", event.loss);
    add("speeds", event.steps_per_second);
  } else if (name === "validation") {
    add("validations", event.loss);
  } else if (name === "samples") {
    if (!state.first.length) state.first = event.samples;
    Object.assign(state, { samples: event.samples, samplesStep: step });
  } else if ("done" in event) {
    state.phase = event;
  }
}

/** Seconds until the last step. */
export function secondsLeft({ total, step, speeds }) {
  const last = speeds.slice(-SPEED_STEPS);
  return ((total - step) * last.reduce((sum, { value }) => sum + 1 / value, 0)) / Math.max(1, last.length);
}

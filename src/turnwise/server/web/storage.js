// Values that outlast the page, as JSON. Where the browser cannot store them, they last as long as the page.

/** `open` returns the storage of the browser; it throws in private windows without one. */
function createStorage(open) {
  const unstored = new Map(); // JSON of the values that could not be stored

  function write(name, json) {
    unstored.delete(name);
    try {
      if (json === null) open().removeItem(name);
      else open().setItem(name, json);
    } catch {
      unstored.set(name, json);
    }
  }

  return {
    /** Return the value; null if there is none. */
    get(name) {
      const key = `turnwise.${name}`;
      try {
        return JSON.parse(unstored.has(key) ? unstored.get(key) : open().getItem(key));
      } catch {
        return null;
      }
    },
    set: (name, value) => write(`turnwise.${name}`, JSON.stringify(value)),
    remove: (name) => write(`turnwise.${name}`, null),
  };
}

/** Values of this browser. */
export const storage = createStorage(() => localStorage);

/** Values of this tab, until it is closed. */
export const tabStorage = createStorage(() => sessionStorage);

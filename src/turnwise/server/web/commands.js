// Actions and keyboard shortcuts of a page, which the command palette and the list of shortcuts show.

const providers = [];
const searches = [];
const shortcuts = [];

/** Add actions: `provider()` returns entries of { label, keys, run }, `keys` only if there are any. */
export const addCommands = (provider) => providers.push(provider);

/** Add a search on the server: `search(query)` returns a promise of actions. */
export const addSearch = (search) => searches.push(search);

/** Add shortcuts: pairs of keys and what they do. */
export const addShortcuts = (...entries) => shortcuts.push(...entries);

export const listCommands = () => providers.flatMap((provider) => provider());
export const listShortcuts = () => [...shortcuts];
export const searchCommands = async (query) => (await Promise.all(searches.map((search) => search(query)))).flat();

/** Whether an element takes typed text, so that letters are no shortcuts there. */
export const takesText = (element) => element.matches?.("textarea, select, input:not([type=checkbox], [type=radio], [type=range]), [contenteditable]") ?? false;

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** The name of a key combination on this machine. */
export const controlKey = (key) => (isMac ? `⌘ ${key}` : `Ctrl ${key}`);

// The secrets of the claims of this tab. They survive a reload, and end with the tab.

import { tabStorage } from "./storage.js";

const key = (id) => `handoff-claim-${id}`;

export const claimOf = (id) => tabStorage.get(key(id)) ?? "";
export const keepClaim = (id, secret) => tabStorage.set(key(id), secret);
export const forgetClaim = (id) => tabStorage.remove(key(id));

// Requests about trainings and evaluations.

import { call, json } from "./api.js";

const path = (id, action) => `/v1/runs/${id}${action}`;

export const list = () => json("GET", "/v1/runs");
export const start = (run) => json("POST", "/v1/runs", run);
export const plan = (training, signal) => json("POST", "/v1/runs/plan", training, signal);
export const act = (id, action) => json("POST", path(id, `/${action}`));
export const remove = (id) => call("DELETE", path(id, ""));
export const progress = (id, after, wait, signal) => json("GET", path(id, `/progress?after=${after}&wait=${wait}`), undefined, signal);
export const report = async (id) => (await call("GET", path(id, "/report"))).text();

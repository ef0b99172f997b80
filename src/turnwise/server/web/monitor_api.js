// Requests of the page of the text monitor.

import { json } from "./api.js";

export const trends = ({ hours, minutes }, signal) =>
  json("GET", `/v1/monitor/trends?${new URLSearchParams({ hours, minutes })}`, undefined, signal);
export const alerts = (limit, signal) => json("GET", `/v1/monitor/alerts?limit=${limit}`, undefined, signal);
export const alert = (id, signal) => json("GET", `/v1/monitor/alerts/${encodeURIComponent(id)}`, undefined, signal);

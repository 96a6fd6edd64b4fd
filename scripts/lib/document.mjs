// Applies zonekeeper.toml to a running Zonekeeper, once: what is in force already is left alone.

import { Failure } from "./report.mjs";

/**
 * Plans the document and applies it where it differs: `{version, changes, messages}`, without changes where it is
 * in force already. `changes` are the plan's; `isDry` stops after it.
 */
export async function applyDocument(api, text, { isDry = false } = {}) {
  const body = { text, type: "application/toml" };
  const plan = await api.post("/api/v1/config/plan", body);
  if (!plan.success) throw new Failure(`zonekeeper.toml was refused: ${sentences(plan)}`);
  const { version, changes } = plan.result;
  if (changes.length === 0 || isDry) return { version, changes, messages: [] };
  // Nothing but what was planned: somebody else's version in between is 412.
  const applied = await api.put(`/api/v1/config?expected_version=${version}`, body);
  if (!applied.success) throw new Failure(`zonekeeper.toml was not applied: ${sentences(applied)}`);
  return { version: applied.result.version, changes, messages: (applied.messages ?? []).map(({ message }) => message) };
}

/** One line for each change, as a difference. */
export function differences(changes) {
  const sign = { create: "+", update: "~", delete: "-" };
  return changes.map(({ kind, name, action }) => `${sign[action] ?? action} ${kind} ${name}`);
}

function sentences({ errors = [] }) {
  return errors.map(({ message }) => message).join(" ");
}

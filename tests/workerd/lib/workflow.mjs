// Runs a job of GitHub Actions as a runner does, as far as the workflows of the README need one: steps in their
// order, actions of this repository, `$GITHUB_ENV`, and an identity where the job's permissions open it.
//
// What is not known here is an error, so that no line of a workflow is passed over.

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { at } from "../../../scripts/lib/paths.mjs";
import { watch } from "../../../scripts/lib/processes.mjs";

/** Reads YAML as workflows are written: block mappings and lists, plain and quoted texts, `[a, b]`, `|` and `>`. */
export function readYaml(text) {
  const lines = text.split("\n").map((line) => line.replace(/(^|\s)#.*$/, "").trimEnd());
  let index = 0;
  const indent = (line) => line.search(/\S/);
  const peek = () => {
    while (index < lines.length && lines[index] === "") index += 1;
    return lines[index];
  };

  const block = (least) => {
    const line = peek();
    if (line === undefined || indent(line) < least) return null;
    const column = indent(line);
    return line.slice(column).startsWith("- ") ? list(column) : mapping(column);
  };

  const list = (column) => {
    const items = [];
    while (peek() !== undefined && indent(lines[index]) === column && lines[index].slice(column).startsWith("- ")) {
      // What follows the dash is a mapping that begins there, or a text.
      const rest = lines[index].slice(column + 2);
      if (/^[\w-]+:(\s|$)/.test(rest)) {
        lines[index] = " ".repeat(column + 2) + rest;
        items.push(mapping(column + 2));
      } else {
        index += 1;
        items.push(scalar(rest));
      }
    }
    return items;
  };

  const mapping = (column) => {
    const members = {};
    while (peek() !== undefined && indent(lines[index]) === column) {
      const found = /^([\w-]+):(?: (.+))?$/.exec(lines[index].trimStart());
      if (!found || found[1] in members) throw new Error(`not YAML that is read here: ${lines[index]}`);
      index += 1;
      const [, key, rest] = found;
      members[key] = rest === undefined ? block(column + 1) : rest === "|" || rest === ">" ? folded(column, rest) : scalar(rest);
    }
    if (peek() !== undefined && indent(lines[index]) > column) throw new Error(`not YAML that is read here: ${lines[index]}`);
    return members;
  };

  const folded = (column, style) => {
    const from = index;
    while (index < lines.length && (lines[index] === "" || indent(lines[index]) > column)) index += 1;
    const texts = lines.slice(from, index).map((line) => line.slice(indent(lines[from])));
    return texts.join(style === "|" ? "\n" : " ").trimEnd();
  };

  const read = block(0);
  if (peek() !== undefined) throw new Error(`not YAML that is read here: ${lines[index]}`);
  return read;
}

function scalar(text) {
  const list = /^\[(.*)\]$/.exec(text);
  if (list) return list[1].split(",").map((item) => scalar(item.trim()));
  const quoted = /^(["'])(.*)\1$/.exec(text);
  if (quoted) return quoted[2];
  if (/^[{&*!|>%@`]/.test(text) || /: |:$/.test(text)) throw new Error(`not YAML that is read here: ${text}`);
  return { true: true, false: false }[text] ?? text;
}

/**
 * Runs the only job of a workflow: `{ code, output, ran }`, the last exit code, what was written, and the steps that
 * were run to their end.
 *
 * - `checkout`: the folder that `actions/checkout` puts into the workspace.
 * - `actions`: what stands before a path of this repository in `uses`, such as `your-org/zonekeeper`.
 * - `sign`: gives the job's identity for an audience, as GitHub would.
 * - `folder`: an empty directory.
 */
export async function runWorkflow(workflow, { checkout, actions, sign, folder, env = {} }) {
  const [job, ...others] = Object.values(workflow.jobs);
  if (others.length > 0) throw new Error("the workflow has several jobs");
  const workspace = await mkdtemp(path.join(folder, "workspace-"));
  const envFile = path.join(folder, `${path.basename(workspace)}.env`);
  const state = {
    workspace,
    output: "",
    env: { PATH: process.env.PATH, HOME: folder, CI: "true", GITHUB_ACTIONS: "true", GITHUB_WORKSPACE: workspace, GITHUB_ENV: envFile, ...env },
  };
  const mayAskIdentity = (job.permissions ?? workflow.permissions)?.["id-token"] === "write";
  const github = mayAskIdentity ? await identities(sign) : undefined;
  Object.assign(state.env, github?.env);
  const ran = [];
  try {
    for (const step of job.steps) {
      await writeFile(envFile, "");
      const code = await runStep(step, { checkout, actions, state });
      if (code !== 0) return { code, output: state.output, ran };
      ran.push(step.uses ?? step.run);
      for (const line of (await readFile(envFile, "utf8")).split("\n").filter(Boolean)) {
        const [, name, value] = /^(\w+)=(.*)$/.exec(line);
        state.env[name] = value;
      }
    }
    return { code: 0, output: state.output, ran };
  } finally {
    github?.close();
  }
}

async function runStep(step, { checkout, actions, state }) {
  only(step, ["uses", "with", "run", "env"]);
  if (step.run !== undefined) return shell(step.run, { state, env: step.env });
  const [action] = step.uses.split("@");
  if (action === "actions/checkout") {
    await cp(checkout, state.workspace, { recursive: true, verbatimSymlinks: true });
    return 0;
  }
  if (!action.startsWith(`${actions}/`)) throw new Error(`${step.uses} is not an action of this repository`);
  return composite(at(...action.slice(actions.length + 1).split("/")), step.with ?? {}, state);
}

/** An action of the kind `composite`. */
async function composite(home, given, state) {
  const { inputs, runs } = readYaml(await readFile(path.join(home, "action.yml"), "utf8"));
  if (runs.using !== "composite") throw new Error(`${home} is no composite action`);
  only(given, Object.keys(inputs));
  for (const [name, { required }] of Object.entries(inputs)) {
    if (required && !given[name]) throw new Error(`the input ${name} is missing`);
  }
  const fill = (text) => text.replace(/\$\{\{ inputs\.([\w-]+) \}\}/g, (_, name) => given[name] ?? "");
  for (const step of runs.steps) {
    only(step, ["shell", "run", "env"]);
    if (step.shell !== "bash") throw new Error(`the shell ${step.shell} is not known here`);
    const env = Object.fromEntries(Object.entries(step.env ?? {}).map(([name, text]) => [name, fill(text)]));
    const code = await shell(step.run, { state, env: { ...env, GITHUB_ACTION_PATH: home } });
    if (code !== 0) return code;
  }
  return 0;
}

function shell(script, { state, env }) {
  const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
    cwd: state.workspace,
    env: { ...state.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  watch(child);
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (state.output += chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}

/** Where a job asks for its identity: for whoever has the job's own token, for the audience that is asked for. */
async function identities(sign) {
  const token = "the-job's-own-token";
  const server = http.createServer(async (request, response) => {
    const { searchParams } = new URL(request.url, "http://x");
    if (request.headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end();
    return response.end(JSON.stringify({ count: 1, value: await sign(searchParams.get("audience")) }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const env = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${server.address().port}/token?api-version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: token,
  };
  return { env, close: () => server.close() };
}

function only(members, known) {
  const unknown = Object.keys(members).find((name) => !known.includes(name));
  if (unknown) throw new Error(`${unknown} is not known here`);
}

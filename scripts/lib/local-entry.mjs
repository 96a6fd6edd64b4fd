// The main module of a local Worker: the built one, plus the triggers that Cloudflare fires and workerd does not.
//
// - `/cdn-cgi/handler/scheduled?cron=<expression>&time=<ms>` runs the cron handler at that time.
// - `POST /cdn-cgi/handler/queue?queue=<name>` with `[{ id?, body, attempts? }]` delivers those messages,
//   as often as it is called; only where the var `LOCAL_QUEUE_TRIGGER` is set.
//
// In production Cloudflare keeps `/cdn-cgi/` for itself, so no request of that form reaches the Worker.
// The class extends the built one instead of standing in front of it: a request reaches it untouched.

export const LOCAL_ENTRY_NAME = "local-entry.mjs";

export const LOCAL_ENTRY = `
import Worker from "./index.js";
export * from "./index.js";

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

export default class extends Worker {
  async fetch(request) {
    if (request.url.includes("/cdn-cgi/handler/")) {
      const answer = await trigger(request, this.env);
      if (answer) return answer;
    }
    return super.fetch(request);
  }
}

async function trigger(request, env) {
  const url = new URL(request.url);
  // A page of the open web that points its name at this machine must not fire anything.
  if (!LOOPBACK.has(url.hostname)) return undefined;
  if (url.pathname === "/cdn-cgi/handler/scheduled") {
    const time = url.searchParams.get("time");
    const { outcome } = await env.LOCAL_SELF.scheduled({
      scheduledTime: time ? new Date(Number(time)) : new Date(),
      cron: url.searchParams.get("cron") ?? "* * * * *",
    });
    return new Response(outcome, { status: outcome === "ok" ? 200 : 500 });
  }
  if (url.pathname === "/cdn-cgi/handler/queue" && env.LOCAL_QUEUE_TRIGGER) {
    const messages = (await request.json()).map(({ id, body, attempts }) => ({
      id: id ?? crypto.randomUUID(),
      timestamp: new Date(),
      attempts: attempts ?? 1,
      body,
    }));
    return Response.json(await env.LOCAL_SELF.queue(url.searchParams.get("queue"), messages));
  }
  return undefined;
}
`;

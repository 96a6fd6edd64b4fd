import { greeting } from "./greeting.js";

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/greeting") return env.ASSETS.fetch(request);
    const seen = Number((await env.CACHE.get("seen")) ?? 0) + 1;
    await env.CACHE.put("seen", String(seen));
    return new Response(greeting(env.GREETING, seen));
  },
};

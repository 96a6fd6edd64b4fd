// What the runtime's ICU data says of time zones, read by the bridge as schedules need it. Without a
// Worker: the function is plain JavaScript.

import assert from "node:assert/strict";
import { test } from "node:test";
import { utcOffsetSecs } from "../../src/edge/bridge.js";

const HOUR = 3_600;

test("offsets are those of the zone at that instant", () => {
  for (const [zone, at, expected] of [
    ["UTC", "2026-11-01T00:00:00Z", 0],
    ["Etc/UTC", "2026-11-01T00:00:00Z", 0],
    ["Etc/GMT+1", "2026-11-01T00:00:00Z", -HOUR],
    ["Europe/Berlin", "2027-03-28T00:59:59.999Z", HOUR],
    ["Europe/Berlin", "2027-03-28T01:00:00Z", 2 * HOUR],
    ["America/St_Johns", "2026-12-01T00:00:00Z", -3.5 * HOUR],
    ["Australia/Lord_Howe", "2026-10-03T15:29:00Z", 10.5 * HOUR],
    ["Australia/Lord_Howe", "2026-10-03T15:30:00Z", 11 * HOUR],
    ["Pacific/Apia", "2011-12-30T09:59:00Z", -10 * HOUR],
    ["Pacific/Apia", "2011-12-30T10:00:00Z", 14 * HOUR],
    ["Africa/Monrovia", "1970-01-01T00:00:00Z", -2_670],
  ]) {
    // Twice: the second answer is the remembered one.
    for (let round = 0; round < 2; round += 1) {
      assert.equal(utcOffsetSecs(zone, Date.parse(at)), expected, `${zone} at ${at}`);
    }
  }
});

test("zones and instants that do not exist have none", () => {
  for (const zone of ["Europe/Atlantis", "+01:00", "", "constructor"]) {
    assert.equal(utcOffsetSecs(zone, 0), undefined, zone);
  }
  for (const ms of [Number.NaN, Infinity, 8.64e15 + 1, -9e15]) {
    assert.equal(utcOffsetSecs("Europe/Berlin", ms), undefined, String(ms));
  }
});

test("more zones and instants than are remembered are answered all the same", () => {
  const zones = Intl.supportedValuesOf("timeZone");
  assert.ok(zones.length > 200);
  for (let round = 0; round < 2; round += 1) {
    for (const zone of zones) assert.ok(Math.abs(utcOffsetSecs(zone, 1_793_534_400_000)) <= 14 * HOUR, zone);
  }
  for (let minute = 0; minute < 500; minute += 1) {
    assert.equal(utcOffsetSecs("Asia/Kolkata", minute * 60_000), 5.5 * HOUR);
  }
});

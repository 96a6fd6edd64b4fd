//! The simulator as a program: `simulator [--port N] [--state FILE]`.
//!
//! It binds the loopback address only and prints `listening on http://127.0.0.1:PORT` when ready.
//! `--state FILE` writes what `GET /__sim/state` answers to a file first, for scripts; the state
//! itself lives in memory only.

use std::io::Write;
use std::process::ExitCode;

use simulator::{Options, Simulator};

const USAGE: &str = "usage: simulator [--port N] [--state FILE]   (SIMULATOR_PORT, default 8788)";

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(message) => {
            // Nothing is left to report to when stderr is gone.
            let _ = writeln!(std::io::stderr(), "simulator: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<std::convert::Infallible, String> {
    let (port, state_file) = arguments(std::env::args().skip(1))?;
    let options = Options {
        port,
        ..Options::default()
    };
    let simulator =
        Simulator::start(options).map_err(|e| format!("could not listen on port {port}: {e}"))?;
    if let Some(path) = state_file {
        std::fs::write(&path, simulator.state_json())
            .map_err(|e| format!("could not write {path:?}: {e}"))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", simulator.url())
        .and_then(|()| out.flush())
        .map_err(|e| format!("could not write to stdout: {e}"))?;
    loop {
        std::thread::park();
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<(u16, Option<String>), String> {
    let mut port = std::env::var("SIMULATOR_PORT").ok();
    let mut state_file = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--port" => port = Some(args.next().ok_or(USAGE)?),
            "--state" => state_file = Some(args.next().ok_or(USAGE)?),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let port = match port {
        None => 8788,
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text:?} is not a port. {USAGE}"))?,
    };
    Ok((port, state_file))
}

//! Times resolve and decide, natively: nanoseconds per decision by number of grants.
//!
//! ```text
//! cargo run --release --bin bench-policy
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../../benches/grants.rs"]
mod grants;

use std::hint::black_box;
use std::time::{Duration, Instant};

use grants::{SHAPES, Source, Subject};

/// Rounds of each measurement, of which the median is shown.
const ROUNDS: usize = 9;
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Decisions in one round.
const DECISIONS: u32 = 100_000;

fn main() {
    println!(
        "{:<52} {:>8} {:>8} {:>8} {:>8}",
        "ns per resolve + decide, grants:", 10, 100, 1_000, 10_000
    );
    for shape in SHAPES {
        print!("{:<52}", shape.title);
        for size in SIZES {
            let nanos = Subject::new(&Source::new(shape, size))
                .filter(Subject::decide)
                .map(|subject| {
                    median(|| {
                        for _ in 0..DECISIONS {
                            black_box(subject.decide());
                        }
                        DECISIONS
                    })
                });
            print!(" {:>8.0}", nanos.unwrap_or(f64::NAN));
        }
        println!();
    }
    table("ms to compile and decide the first call:", Source::start);
    table(
        "ms to compile with every condition, before it is stored:",
        Source::check,
    );
}

fn table(title: &str, work: impl Fn(&Source) -> bool) {
    println!("\n{title}");
    for shape in SHAPES {
        print!("{:<52}", shape.title);
        for size in SIZES {
            let source = Source::new(shape, size);
            let nanos = median(|| {
                black_box(work(&source));
                1
            });
            print!(" {:>8.2}", nanos / 1e6);
        }
        println!();
    }
}

/// The median over the rounds of nanoseconds per unit of work; `work` returns its units.
fn median(mut work: impl FnMut() -> u32) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (time, units) = timed(&mut work);
            time.as_secs_f64() * 1e9 / f64::from(units)
        })
        .collect();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: &mut impl FnMut() -> u32) -> (Duration, u32) {
    let start = Instant::now();
    let units = work();
    (start.elapsed(), units)
}

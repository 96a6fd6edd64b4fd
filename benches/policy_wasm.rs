//! The policy in wasm, for `npm run bench`, which loads it into the same JavaScript engine that
//! workerd has and reads the clock there.

mod grants;

use std::hint::black_box;

use grants::{SHAPES, Source, Subject};
use wasm_bindgen::prelude::*;

/// A configuration and one call under it.
#[wasm_bindgen]
pub struct Bench {
    source: Source,
    subject: Subject,
}

#[wasm_bindgen]
impl Bench {
    /// `size` grants of the shape at `shape`; undefined when there is no such shape.
    #[must_use]
    pub fn of(shape: usize, size: usize) -> Option<Self> {
        let shape = *SHAPES.get(shape)?;
        let source = Source::new(shape, size);
        let subject = Subject::new(&source)?;
        Some(Self { source, subject })
    }

    /// What the shape is called.
    #[must_use]
    pub fn title(shape: usize) -> Option<String> {
        SHAPES.get(shape).map(|shape| shape.title.to_owned())
    }

    /// Resolves and decides so often; how many were allowed.
    #[must_use]
    pub fn decide(&self, times: u32) -> u32 {
        (0..times)
            .map(|_| u32::from(black_box(self.subject.decide())))
            .sum()
    }

    /// Compiles the configuration and decides the first call.
    #[must_use]
    pub fn start(&self) -> bool {
        black_box(self.source.start())
    }

    /// Compiles the configuration with every condition, as before it is stored.
    #[must_use]
    pub fn check(&self) -> bool {
        black_box(self.source.check())
    }
}

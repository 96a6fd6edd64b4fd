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
        Some(Self {
            source: Source::new(shape, size),
            subject: Subject::new(shape, size)?,
        })
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

    /// Compiles the configuration.
    #[must_use]
    pub fn compile(&self) -> bool {
        black_box(self.source.compile().is_some())
    }
}

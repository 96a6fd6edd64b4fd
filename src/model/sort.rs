//! Sorting that is compiled once for all types.
//!
//! The standard library's sort is some four kilobytes of wasm for each type it sorts. Here one sort of
//! positions serves all, and only moving the items is compiled for each. For lists that are not
//! sorted on every call.

use std::cmp::Ordering;

/// Sorts `items` by `compare`; what compares equal keeps its order.
pub fn sort_by<T>(items: &mut Vec<T>, mut compare: impl FnMut(&T, &T) -> Ordering) {
    let Ok(count) = u32::try_from(items.len()) else {
        // No list in memory is that long.
        return;
    };
    let order = {
        let item = |at: u32| items.get(at as usize);
        positions(count, &mut |a, b| match (item(a), item(b)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        })
    };
    let mut from: Vec<Option<T>> = std::mem::take(items).into_iter().map(Some).collect();
    let sorted = order
        .into_iter()
        .filter_map(|at| from.get_mut(at as usize).and_then(Option::take));
    items.extend(sorted);
}

/// The positions 0 to below `count` in the order that `compare` puts them in.
fn positions(count: u32, compare: &mut dyn FnMut(u32, u32) -> Ordering) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_sorted_and_equal_ones_keep_their_order() {
        let mut items = vec![(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd')];
        sort_by(&mut items, |a, b| a.0.cmp(&b.0));
        assert_eq!(items, [(1, 'b'), (1, 'd'), (2, 'a'), (2, 'c')]);
        let mut none: Vec<u8> = Vec::new();
        sort_by(&mut none, u8::cmp);
        assert!(none.is_empty());
    }
}

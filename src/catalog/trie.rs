//! The path templates as a tree of segments.
//!
//! The file has for each node only its segment and two counts. Where its children and operations
//! lie follows from the counts of the nodes before, and is worked out when the first path is
//! looked up.

use std::ops::Range;
use std::sync::OnceLock;

use super::table;

/// One node. Its children lie side by side: literals sorted by their bytes, then segments that mix
/// text and parameters, then the bare parameter.
#[derive(Default)]
pub(super) struct Node {
    /// The literal, or the pattern with parameters as `{name}`.
    pub(super) segment: &'static str,
    /// Whether that is one parameter and nothing else.
    pub(super) is_bare: bool,
    first_child: usize,
    literal_children: usize,
    child_count: usize,
    first_operation: u16,
    operation_count: u16,
}

impl Node {
    /// What every path begins at.
    pub(super) fn root() -> Option<&'static Self> {
        nodes().first()
    }

    /// The children that are literals.
    pub(super) fn literals(&self) -> &'static [Self] {
        within(self.first_child..self.first_child + self.literal_children)
    }

    /// The children with parameters in them.
    pub(super) fn patterns(&self) -> &'static [Self] {
        within(self.first_child + self.literal_children..self.first_child + self.child_count)
    }

    /// The operations that end here.
    pub(super) fn operations(&self) -> Range<u16> {
        self.first_operation..self.first_operation.saturating_add(self.operation_count)
    }
}

fn within(children: Range<usize>) -> &'static [Node] {
    nodes().get(children).unwrap_or_default()
}

fn nodes() -> &'static [Node] {
    static NODES: OnceLock<Vec<Node>> = OnceLock::new();
    NODES.get_or_init(|| {
        let mut nodes = Vec::with_capacity(table::node_count());
        nodes.extend(
            table::nodes().map(|(segment, [children, operations])| Node {
                segment,
                is_bare: is_bare(segment),
                child_count: children.into(),
                operation_count: operations.into(),
                ..Node::default()
            }),
        );
        place(&mut nodes, 0, &mut 1, &mut 0);
        nodes
    })
}

fn is_bare(segment: &str) -> bool {
    matches!(segment.as_bytes(), [b'{', name @ .., b'}'] if !name.contains(&b'}'))
}

/// Says where the children and operations of a node and of all below it lie: its children next, then
/// what is below the first of them, below the second, and so on. Operations are in the order of
/// this walk.
fn place(nodes: &mut [Node], at: usize, next_child: &mut usize, next_operation: &mut u16) {
    let Some(node) = nodes.get_mut(at) else {
        return;
    };
    node.first_child = *next_child;
    node.first_operation = *next_operation;
    *next_child += node.child_count;
    *next_operation = next_operation.saturating_add(node.operation_count);
    let children = node.first_child..*next_child;
    let is_literal = |child: &&Node| !child.segment.as_bytes().contains(&b'{');
    let literals = nodes.get(children.clone()).unwrap_or_default();
    let literals = literals.iter().take_while(is_literal).count();
    if let Some(node) = nodes.get_mut(at) {
        node.literal_children = literals;
    }
    for child in children {
        place(nodes, child, next_child, next_operation);
    }
}

/// The path template of an operation, spelled out when it is first asked for.
pub(super) fn template(operation: u16) -> &'static str {
    static TEMPLATES: OnceLock<Vec<OnceLock<String>>> = OnceLock::new();
    let templates = TEMPLATES.get_or_init(|| {
        let none = |_| OnceLock::new();
        (0..table::operation_count()).map(none).collect()
    });
    templates
        .get(usize::from(operation))
        .map_or("", |template| template.get_or_init(|| spell(operation)))
}

/// The segments on the way down to the operation.
fn spell(operation: u16) -> String {
    let mut template = String::new();
    let mut at = Node::root();
    while let Some(node) = at {
        if node.operations().contains(&operation) {
            return table::renamed_template(node.first_operation).map_or(template, str::to_owned);
        }
        // Below it are the operations from its first on, to the first of its next sibling.
        let children = within(node.first_child..node.first_child + node.child_count);
        let next = children.partition_point(|child| child.first_operation <= operation);
        at = next.checked_sub(1).and_then(|child| children.get(child));
        if let Some(node) = at {
            template.push('/');
            template.push_str(node.segment);
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_table_has_no_template() {
        assert_eq!(template(u16::MAX), "");
        assert_eq!(template(table::operation_count()), "");
        assert_eq!(spell(u16::MAX), "");
    }

    #[test]
    fn every_node_has_its_place() {
        let mut claimed = vec![0; nodes().len()];
        claimed[0] = 1;
        for node in nodes() {
            assert_eq!(
                node.literals().len() + node.patterns().len(),
                node.child_count
            );
            let children = node.first_child..node.first_child + node.child_count;
            claimed[children].iter_mut().for_each(|times| *times += 1);
            assert!(node.literals().is_sorted_by(|a, b| a.segment < b.segment));
        }
        assert!(claimed.iter().all(|times| *times == 1));
    }
}

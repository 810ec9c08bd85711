//! Bounded tries: sets of paths that keep at most so many of them apart and merge the others into prefixes.
//!
//! In: tries of bundles. Out: their union within the bound. Source: `BoundedTrie` of `metrics.proto`.

use std::collections::BTreeMap;

/// A prefix of paths and what follows it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TrieNode {
    /// Stands for every path below it.
    pub truncated: bool,
    /// What follows; empty at the end of a path.
    pub children: BTreeMap<String, TrieNode>,
}

/// A set of paths.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct BoundedTrie {
    /// Paths it keeps apart at most; 0 leaves it open.
    pub bound: usize,
    /// `None` while there is no path.
    pub root: Option<TrieNode>,
}

impl TrieNode {
    /// Paths below it, itself if it is the end of one.
    fn size(&self) -> usize {
        self.children.values().map(Self::size).sum::<usize>().max(1)
    }

    /// Adds a path.
    pub fn add<'a>(&mut self, path: impl IntoIterator<Item = &'a str>) {
        let mut at = self;
        for part in path {
            if at.truncated {
                return;
            }
            at = at.children.entry(part.to_owned()).or_default();
        }
    }

    fn truncate(&mut self) {
        self.truncated = true;
        self.children.clear();
    }

    fn merge(&mut self, other: &Self) {
        if self.truncated {
            return;
        }
        if other.truncated {
            return self.truncate();
        }
        for (part, child) in &other.children {
            match self.children.get_mut(part) {
                Some(have) => have.merge(child),
                None => {
                    self.children.insert(part.clone(), child.clone());
                }
            }
        }
    }

    /// Gives up the deepest fork below the child with the most paths. Cost: O(paths).
    fn trim(&mut self) {
        let most = self.children.iter().map(|(part, child)| (child.size(), part.clone()));
        // of equals the first, so that the result depends on nothing but the paths
        let Some((size, part)) = most.reduce(|a, b| if b.0 > a.0 { b } else { a }) else { return };
        match self.children.get_mut(&part) {
            Some(child) if size > 1 => child.trim(),
            _ => self.truncate(),
        }
    }
}

impl BoundedTrie {
    /// Adds all paths of `other`, then gives up as many as the smaller bound asks for.
    pub fn merge(&mut self, other: &Self) {
        self.bound = match (self.bound, other.bound) {
            (0, bound) | (bound, 0) => bound,
            (a, b) => a.min(b),
        };
        match (&mut self.root, &other.root) {
            (Some(root), Some(other)) => root.merge(other),
            (root @ None, other) => root.clone_from(other),
            (Some(_), None) => {}
        }
        let Some(root) = &mut self.root else { return };
        while self.bound > 0 && root.size() > self.bound {
            root.trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(bound: usize, paths: &[&str]) -> BoundedTrie {
        let mut root = TrieNode::default();
        paths.iter().for_each(|p| root.add(p.split('/')));
        BoundedTrie { bound, root: (!paths.is_empty()).then_some(root) }
    }

    fn merged(bound: usize, parts: &[&[&str]]) -> BoundedTrie {
        let mut all = BoundedTrie::default();
        parts.iter().for_each(|paths| all.merge(&trie(bound, paths)));
        all
    }

    #[test]
    fn the_union_holds_every_path_within_the_bound() {
        let all = merged(4, &[&["a/b", "a/c"], &[], &["a/b", "d"]]);
        assert_eq!(all, trie(4, &["a/b", "a/c", "d"]));
    }

    #[test]
    fn beyond_the_bound_the_largest_fork_becomes_a_prefix() {
        let all = merged(3, &[&["a/1", "a/2"], &["a/3", "b/1"]]);
        let root = all.root.expect("a root");
        assert_eq!(root.size(), 2);
        assert!(root.children["a"].truncated, "{root:?}");
        assert!(!root.children["b"].truncated, "{root:?}");
        // a prefix stands for what comes later below it
        let mut again = BoundedTrie { bound: 3, root: Some(root.clone()) };
        again.merge(&trie(3, &["a/9"]));
        assert_eq!(again.root, Some(root));
    }
}

//! How alike two texts are: the Dice coefficient of their trigrams, 0 to 1. Case, punctuation and doubled spaces do not
//! count.

use std::collections::HashMap;

pub struct Pair {
    pub left: usize,
    pub right: usize,
    pub score: f64,
}

pub struct Found {
    /// The most alike first.
    pub pairs: Vec<Pair>,
    /// How many groups the pairs form, where who is like a third belongs to both.
    pub groups: usize,
}

/// The different trigrams of a text, each as one number.
fn trigrams(text: &str) -> Vec<u64> {
    let mut characters = vec![' ', ' '];
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            characters.push(character);
        } else if characters.last() != Some(&' ') {
            characters.push(' ');
        }
    }
    if characters.last() != Some(&' ') {
        characters.push(' ');
    }
    let mut found: Vec<u64> =
        characters.windows(3).map(|three| (three[0] as u64) << 42 | (three[1] as u64) << 21 | three[2] as u64).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn dice(shared: usize, left: usize, right: usize) -> f64 {
    if left + right == 0 { 1.0 } else { 2.0 * shared as f64 / (left + right) as f64 }
}

pub fn similarity(left: &str, right: &str) -> f64 {
    let (left, right) = (trigrams(left), trigrams(right));
    dice(left.iter().filter(|one| right.binary_search(one).is_ok()).count(), left.len(), right.len())
}

/// All pairs that are at least `threshold` alike. Only texts that share a trigram are looked at: an index leads from a
/// trigram to the texts before this one that have it.
pub fn pairs(texts: &[&str], threshold: f64) -> Found {
    let mut index: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut sizes = Vec::with_capacity(texts.len());
    let mut shared = vec![0u32; texts.len()];
    let mut touched = Vec::new();
    let mut pairs = Vec::new();
    for (right, text) in texts.iter().enumerate() {
        let own = trigrams(text);
        for trigram in &own {
            let others = index.entry(*trigram).or_default();
            for &left in others.iter() {
                if shared[left as usize] == 0 {
                    touched.push(left as usize);
                }
                shared[left as usize] += 1;
            }
            others.push(right as u32);
        }
        for left in touched.drain(..) {
            let score = dice(shared[left] as usize, sizes[left], own.len());
            shared[left] = 0;
            if score >= threshold {
                pairs.push(Pair { left, right, score });
            }
        }
        sizes.push(own.len());
    }
    pairs.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.left.cmp(&b.left)).then(a.right.cmp(&b.right)));
    let groups = count_groups(texts.len(), &pairs);
    Found { pairs, groups }
}

fn count_groups(texts: usize, pairs: &[Pair]) -> usize {
    let mut parents: Vec<usize> = (0..texts).collect();
    let mut grouped = vec![false; texts];
    for pair in pairs {
        let (left, right) = (root(&mut parents, pair.left), root(&mut parents, pair.right));
        parents[right] = left;
        grouped[pair.left] = true;
        grouped[pair.right] = true;
    }
    (0..texts).filter(|&at| grouped[at] && parents[at] == at).count()
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

//! The products that have a word: ascending numbers, packed.

/// Numbers of products, each as the distance from the one before it, seven bits a byte.
#[derive(Debug, Clone, Default)]
pub(super) struct Postings {
    bytes: Vec<u8>,
    last: u32,
    count: u32,
}

impl Postings {
    /// Appends a number above every one so far. Appending the last one again changes nothing.
    pub(super) fn push(&mut self, number: u32) {
        if self.count > 0 && number <= self.last {
            assert!(number == self.last, "{number} after {}", self.last);
            return;
        }
        let mut distance = number - self.last;
        while distance >= 0x80 {
            self.bytes.push((distance & 0x7f) as u8 | 0x80);
            distance >>= 7;
        }
        self.bytes.push((distance & 0x7f) as u8);
        self.last = number;
        self.count += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut bytes = self.bytes.iter();
        let mut number = 0_u32;
        std::iter::from_fn(move || {
            let mut distance = 0;
            let mut shift = 0;
            loop {
                let byte = *bytes.next()?;
                distance |= u32::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
            number += distance;
            Some(number)
        })
    }

    pub(super) const fn len(&self) -> u32 {
        self.count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_kept(numbers in prop::collection::btree_set(any::<u32>(), 0..50)) {
            let mut postings = Postings::default();
            for number in &numbers {
                postings.push(*number);
                postings.push(*number);
            }
            prop_assert_eq!(postings.len() as usize, numbers.len());
            prop_assert!(postings.iter().eq(numbers));
        }
    }
}

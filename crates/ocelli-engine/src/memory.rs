//! Where each buffer lives: one arena, shared by buffers that are not alive at the same time.

/// A buffer to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Elements.
    pub len: usize,
    /// First step that touches it.
    pub first: usize,
    /// Last step that touches it.
    pub last: usize,
}

/// Elements to which every buffer is aligned: 64 bytes, a cache line.
pub const ALIGN: usize = 16;

/// Offsets for all requests and the arena's length: the largest buffers first, each at the lowest place that is
/// free during its whole life.
pub fn place(requests: &[Request]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(requests[i].len), requests[i].first));
    let mut offsets = vec![0; requests.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let request = requests[i];
        let len = request.len.next_multiple_of(ALIGN);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| requests[j].first <= request.last && request.first <= requests[j].last)
            .map(|&j| (offsets[j], offsets[j] + requests[j].len.next_multiple_of(ALIGN)))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + len <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        total = total.max(at + len);
        placed.push(i);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_together_are_apart_and_others_share() {
        // A chain of three with a long-lived first: a | b | c, the skip from a to c.
        let requests = [
            Request { len: 100, first: 0, last: 2 },
            Request { len: 50, first: 1, last: 2 },
            Request { len: 40, first: 3, last: 4 },
            Request { len: 60, first: 2, last: 3 },
        ];
        let (offsets, total) = place(&requests);
        for i in 0..4 {
            for j in 0..i {
                let (a, b) = (requests[i], requests[j]);
                let together = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                assert!(!together || apart, "{i} and {j} overlap");
            }
        }
        assert!(total < 112 + 64 + 48 + 64, "nothing is shared: {total}");
    }
}

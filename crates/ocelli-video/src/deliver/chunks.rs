//! Which chunk a frame belongs to.

/// The chunk of frame `number`, from 1, in the paper's protocol: `length` frames in `chunks` equal runs. Nothing for frames beyond
/// `chunks · floor(length / chunks)`, which belong to no chunk.
pub fn reference_chunk(number: usize, length: usize, chunks: usize) -> Option<usize> {
    let run = length.checked_div(chunks)?;
    let chunk = number.checked_sub(1)?.checked_div(run)?;
    (chunk < chunks).then_some(chunk)
}

/// The same with the rest in the last chunk: every frame has one.
pub fn chunk_of(number: usize, length: usize, chunks: usize) -> Option<usize> {
    (1..=length).contains(&number).then(|| reference_chunk(number, length, chunks).unwrap_or(chunks - 1))
}

/// The chunk of frame `number` of the published test sets: the film's frames, 150 a chunk, then 15 test frames a chunk. The id is one past the
/// last for any other number.
pub fn reference_test_chunk(number: usize, chunks: usize) -> usize {
    let (per_chunk, tests) = (150, 15);
    let film = per_chunk * chunks;
    match number {
        0 => chunks,
        n if n <= film => (n - 1) / per_chunk,
        n => ((n - film - 1) / tests).min(chunks),
    }
}

/// Cuts a film at multiples of `seconds`, by the times of its frames (ascending): the first frame of every chunk. A rest shorter than a second joins
/// the chunk before it.
pub fn cut(times: &[f64], duration: f64, seconds: f64) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut last = None;
    for (frame, &time) in times.iter().enumerate() {
        // A frame that a clock's rounding puts just before the cut is the cut's.
        let chunk = ((time + 1e-6) / seconds).floor() as i64;
        let first_of_rest = frame > 0 && duration - time < 1.0;
        if last.is_none_or(|last| chunk > last) && !first_of_rest {
            starts.push(frame);
        }
        last = Some(last.map_or(chunk, |last: i64| last.max(chunk)));
    }
    starts
}

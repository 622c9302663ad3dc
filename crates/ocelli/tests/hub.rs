//! `hf://` references against a server of the test's own on loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::common::{finished, ocelli, run, trained};

/// Serves `files` (path → bytes) as a Hugging Face hub would; gives its address.
fn serve(files: HashMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_string();
            let range = lines
                .take_while(|line| !line.is_empty())
                .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_string));
            let Some(bytes) = files.get(&path) else {
                stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .ok();
                continue;
            };
            let (from, to) = range
                .as_deref()
                .and_then(|range| range.split_once('-'))
                .map(|(from, to)| (from.parse().unwrap_or(0), to.parse().unwrap_or(bytes.len() - 1)))
                .unwrap_or((0, bytes.len() - 1));
            let part = &bytes[from..=to.min(bytes.len() - 1)];
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{to}/{}\r\n\
                 x-repo-commit: 0123456789abcdef\r\netag: \"{}\"\r\nconnection: close\r\n\r\n",
                part.len(),
                bytes.len(),
                bytes.len()
            )
            .ok();
            stream.write_all(part).ok();
        }
    });
    address
}

#[test]
fn a_model_is_fetched_from_a_hub_once() {
    let dir = tempfile::tempdir().unwrap();
    let best = trained(dir.path()).join("best.safetensors");
    let image = dir.path().join("data/val/red/0.png");
    let address = serve(HashMap::from([(
        "/someone/colours/resolve/main/model.safetensors".to_string(),
        std::fs::read(&best).unwrap(),
    )]));
    let predict = |reference: &str, code| {
        let output = ocelli()
            .env("HF_ENDPOINT", &address)
            .env("HF_HOME", dir.path().join("hub"))
            .args(["image", "predict", image.to_str().unwrap(), "--format", "json", "--model", reference])
            .output()
            .unwrap();
        finished(output, code)
    };
    let (remote, _) = predict("hf://someone/colours", 0);
    let (local, _) = run(
        &["image", "predict", image.to_str().unwrap(), "--format", "json", "--model", best.to_str().unwrap()],
        0,
    );
    assert_eq!(remote, local);
    let (_, error) = predict("hf://someone/else", 1);
    assert!(error.contains("someone/else") && error.contains("model.safetensors"), "{error}");
    let (_, error) = predict("hf://someone", 1);
    assert!(error.contains("expected hf://org/repo"), "{error}");
}

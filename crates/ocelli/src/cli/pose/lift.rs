//! `ocelli pose lift`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_pose::Runner;
use ocelli_pose::bvh::write_bvh;
use ocelli_pose::keypoints::{self, Clip, FillOptions, Order, Prepared};
use ocelli_pose::output::{Picture, Shown, gltf};
use ocelli_pose::picture::normalise;
use ocelli_pose::skeleton::{NAMES, Pose2, Pose3};
use ocelli_report::atomic::write_atomic;
use serde_json::{Value, json};

use super::draw;
use super::model::{self, SHIPPED_NAME};
use crate::cli::Global;
use crate::cli::output::line;

/// Orders of joints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OrderName {
    /// COCO's 17, nose first
    Coco,
    /// Human3.6M's 17, pelvis first
    H36m,
    /// OpenPose's 25
    Body25,
}

/// Lift 2D keypoints to 3D skeletons.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli pose lift keypoints.json --size 1920x1080 --output lifted.json\n  \
    ocelli pose lift keypoints.json --picture lifted.gif --bvh lifted.bvh --gltf lifted.gltf\n  \
    detector | ocelli pose lift - --size 640x480 > lifted.jsonl        (a line of JSON per frame, as it comes)\n\n\
    Understood: COCO results, OpenPose's JSON, and {\"size\": [w, h], \"order\": \"coco\", \"frames\": [{\"people\": [{\"id\": 1, \
    \"keypoints\": [[x, y, score], ..]}]}]} or parts of it.\n\
    Output: metres relative to the pelvis, x right, y down, z away from the camera.")]
pub struct Lift {
    /// Keypoints as JSON or JSON lines; - for lines from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Model file, run folder, reference checkpoint, or the shipped network
    #[arg(long, default_value = SHIPPED_NAME, value_name = "REF")]
    model: String,
    /// Borders of a reference checkpoint, which does not say them: c,r or c,z
    #[arg(long, value_name = "A,B")]
    padding: Option<String>,
    /// Order of the joints [default: what the file says, else detected]
    #[arg(long, value_enum)]
    order: Option<OrderName>,
    /// Width and height of the pictures in pixels [default: what the file says]
    #[arg(long, value_name = "WxH")]
    size: Option<String>,
    /// Joints with a lower score are missing
    #[arg(long, default_value_t = 0.3, value_name = "SCORE")]
    min_score: f32,
    /// Frames over which a missing joint is carried on
    #[arg(long, default_value_t = 10, value_name = "N")]
    max_gap: usize,
    /// Frames per second, for BVH, glTF and animated pictures
    #[arg(long, default_value_t = 30.0, value_name = "RATE")]
    fps: f64,
    /// Where the JSON goes [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a picture of input and skeleton: .svg and .gif are animated for several frames, .png is the first
    #[arg(long, alias = "svg", value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Write motion for animation programs; one file per person
    #[arg(long, value_name = "FILE")]
    bvh: Option<PathBuf>,
    /// Write a skeleton for 3D programs; one file per person
    #[arg(long, value_name = "FILE")]
    gltf: Option<PathBuf>,
}

/// How far from the picture's middle a joint may lie, in halves of its longer side: networks answer anything with something.
const FARTHEST: f32 = 10.0;

/// One frame, lifted.
struct Lifted {
    name: String,
    people: Vec<(Prepared, Option<Pose3>)>,
}

impl Lift {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let size = self.size.as_deref().map(size).transpose()?;
        if !(self.fps.is_finite() && self.fps > 0.0) {
            bail!("--fps {}: expected a number above 0", self.fps);
        }
        if let Some(path) = &self.picture {
            draw::check_ending("--picture", path)?;
        }
        let model = model::open(&self.model, self.padding.as_deref(), &global.device()?)?;
        let threads = global.threads();
        let runner = Runner::new(&model.lifter, model.description.temperature, threads)?;
        if self.file == Path::new("-") {
            return self.stream(&runner, size, &model.description.name);
        }
        let at = || self.file.display().to_string();
        let clip = keypoints::read(&self.file)?;
        let Some(size) = size.or(clip.size) else {
            bail!("{}: does not say how large the pictures are; name it with --size WIDTHxHEIGHT", at());
        };
        let (order, how) = self.order_of(&clip).with_context(at)?;
        let frames = self.lift(&runner, &clip, 0, order, size).with_context(at)?;
        let people: usize = frames.iter().map(|frame| frame.people.len()).sum();
        if people == 0 {
            bail!("{}: nobody in {} frames", at(), frames.len());
        }
        let lifted = frames.iter().flat_map(|frame| &frame.people).filter(|(_, pose)| pose.is_some()).count();
        self.files(&frames, size, &model.description.name)?;
        let text = serde_json::to_string(&document(&frames, &model.description.name, order, size))?;
        match &self.output {
            Some(path) => {
                write_atomic(path, text.as_bytes()).with_context(|| path.display().to_string())?;
            }
            None => line(&text)?,
        }
        if !global.quiet {
            report(&frames, order, how, lifted, people);
        }
        if lifted == 0 {
            bail!("{}: none of the {people} people could be lifted: {}", at(), first_reason(&frames));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn order_of(&self, clip: &Clip) -> Result<(Order, &'static str)> {
        if let Some(name) = self.order {
            let order = match name {
                OrderName::Coco => Order::Coco,
                OrderName::H36m => Order::H36m,
                OrderName::Body25 => Order::Body25,
            };
            return Ok((order, "as asked for"));
        }
        if let Some(order) = clip.order {
            return Ok((order, "as the file says"));
        }
        match keypoints::detect(clip) {
            Some(order) => Ok((order, "detected")),
            None => bail!("cannot tell the order of the joints; name it with --order coco or --order h36m"),
        }
    }

    /// Lifts the frames from `first` on; those before are where missing joints come from.
    fn lift(
        &self,
        runner: &Runner,
        clip: &Clip,
        first: usize,
        order: Order,
        size: [f32; 2],
    ) -> Result<Vec<Lifted>> {
        let options = FillOptions { least_score: self.min_score, most_frames: self.max_gap };
        let mut prepared = keypoints::prepare(clip, order, &options).map_err(anyhow::Error::msg)?;
        prepared.drain(..first);
        for person in prepared.iter_mut().flatten() {
            let Ok(joints) = &person.joints else { continue };
            if joints.iter().any(|point| normalise(*point, size).iter().any(|v| v.abs() > FARTHEST)) {
                person.joints = Err("its joints lie too far out of the picture".to_string());
            }
        }
        let poses: Vec<Pose2> = prepared
            .iter()
            .flatten()
            .filter_map(|person| person.joints.as_ref().ok())
            .map(|joints| joints.map(|point| normalise(point, size)))
            .collect();
        let mut lifted = runner.lift(&poses)?.into_iter();
        Ok(clip.frames[first..]
            .iter()
            .zip(prepared)
            .map(|(frame, people)| Lifted {
                name: frame.name.clone(),
                people: people
                    .into_iter()
                    .map(|mut person| {
                        let pose = person.joints.is_ok().then(|| lifted.next()).flatten();
                        let pose = pose.filter(|pose| pose.iter().flatten().all(|v| v.is_finite()));
                        if pose.is_none() && person.joints.is_ok() {
                            person.joints = Err("the network's answer is no number".to_string());
                        }
                        (person, pose)
                    })
                    .collect(),
            })
            .collect())
    }

    /// A line in, a line out; a bad line is answered with its error.
    fn stream(&self, runner: &Runner, size: Option<[f32; 2]>, name: &str) -> Result<ExitCode> {
        // Missing joints come from earlier lines: what was seen is kept, the latest frames of it.
        let mut earlier = Clip::default();
        for (number, text) in std::io::stdin().lock().lines().enumerate() {
            let text = text.context("standard input")?;
            if text.trim().is_empty() {
                continue;
            }
            let answer = self.answer(runner, &text, number, size, name, &mut earlier);
            let value = answer
                .unwrap_or_else(|error| json!({"frame": number.to_string(), "error": format!("{error:#}")}));
            let mut out = std::io::stdout().lock();
            writeln!(out, "{value}")?;
            out.flush()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn answer(
        &self,
        runner: &Runner,
        text: &str,
        number: usize,
        size: Option<[f32; 2]>,
        name: &str,
        earlier: &mut Clip,
    ) -> Result<Value> {
        let clip = keypoints::read_line(text).map_err(anyhow::Error::msg)?;
        let Some(size) = size.or(clip.size) else {
            bail!("name the pictures' size with --size WIDTHxHEIGHT")
        };
        let (order, _) = self.order_of(&clip)?;
        earlier.frames.extend(clip.frames);
        let surplus = earlier.frames.len().saturating_sub(self.max_gap.saturating_add(2));
        earlier.frames.drain(..surplus);
        let Some(newest) = earlier.frames.len().checked_sub(1) else { bail!("no frame") };
        let mut frames = self.lift(runner, earlier, newest, order, size)?;
        let Some(mut last) = frames.pop() else { bail!("no frame") };
        if last.name == "0" {
            last.name = number.to_string();
        }
        let mut value = document(&[last], name, order, size);
        Ok(value["frames"][0].take())
    }

    fn files(&self, frames: &[Lifted], size: [f32; 2], name: &str) -> Result<()> {
        if let Some(path) = &self.picture {
            let shown = |frame: &Lifted| {
                let people = frame.people.iter();
                people
                    .filter_map(|(own, pose)| {
                        Some(Shown { input: Some(*own.joints.as_ref().ok()?), lifted: *pose })
                    })
                    .collect()
            };
            let title =
                format!("{}, lifted by {name}", self.file.file_name().unwrap_or_default().to_string_lossy());
            let frames = frames.iter().map(shown).collect();
            draw::write_picture(path, &Picture { title, size: Some(size), frames, rate: self.fps })?;
        }
        if self.bvh.is_none() && self.gltf.is_none() {
            return Ok(());
        }
        let mut people: BTreeMap<&str, Vec<Pose3>> = BTreeMap::new();
        for (person, pose) in frames.iter().flat_map(|frame| &frame.people) {
            if let Some(pose) = pose {
                people.entry(&person.id).or_default().push(*pose);
            }
        }
        let several = people.len() > 1;
        for (id, poses) in &people {
            if let Some(path) = &self.bvh {
                let path = named(path, id, several);
                write_atomic(&path, write_bvh(poses, self.fps).as_bytes())
                    .with_context(|| path.display().to_string())?;
            }
            if let Some(path) = &self.gltf {
                let path = named(path, id, several);
                let text = gltf(&format!("person {id}"), poses, self.fps);
                write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// `clip.bvh` becomes `clip-ID.bvh` where there are several people.
fn named(path: &Path, id: &str, several: bool) -> PathBuf {
    if !several {
        return path.to_path_buf();
    }
    let id: String = id.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map_or(String::new(), |ending| format!(".{}", ending.to_string_lossy()));
    path.with_file_name(format!("{stem}-{id}{ending}"))
}

fn size(text: &str) -> Result<[f32; 2]> {
    let sides: Vec<f32> = text.split('x').filter_map(|side| side.parse().ok()).collect();
    match sides.as_slice() {
        &[width, height] if width > 0.0 && height > 0.0 && (width * height).is_finite() => {
            Ok([width, height])
        }
        _ => bail!("--size {text}: expected WIDTHxHEIGHT in pixels, such as 1920x1080"),
    }
}

fn document(frames: &[Lifted], model: &str, order: Order, size: [f32; 2]) -> Value {
    let people = |frame: &Lifted| -> Vec<Value> {
        frame
            .people
            .iter()
            .map(|(person, pose)| match (&person.joints, pose) {
                (Ok(input), Some(pose)) => {
                    let filled: Vec<&str> = person.filled.iter().map(|&joint| NAMES[joint]).collect();
                    json!({"id": person.id, "lifted": true, "joints": pose, "input": input, "filled": filled})
                }
                (Err(reason), _) => json!({"id": person.id, "lifted": false, "reason": reason}),
                _ => json!({"id": person.id, "lifted": false}),
            })
            .collect()
    };
    json!({
        "model": model,
        "unit": "metre",
        "axes": "relative to the pelvis; x right, y down, z away from the camera",
        "joints": NAMES,
        "input_order": order.name(),
        "size": size,
        "frames": frames.iter().map(|frame| json!({"frame": frame.name, "people": people(frame)})).collect::<Vec<_>>(),
    })
}

fn first_reason(frames: &[Lifted]) -> String {
    frames
        .iter()
        .flat_map(|frame| &frame.people)
        .find_map(|(person, _)| person.joints.as_ref().err().cloned())
        .unwrap_or_default()
}

/// What was done, on standard error.
fn report(frames: &[Lifted], order: Order, how: &str, lifted: usize, people: usize) {
    eprintln!("order of joints: {} ({how})", order.name());
    if order != Order::H36m {
        eprintln!(
            "note: pelvis, spine, thorax and head are derived from {}'s keypoints; networks trained on motion capture are biased on them",
            order.name()
        );
    }
    let filled: usize = frames.iter().flat_map(|frame| &frame.people).map(|(own, _)| own.filled.len()).sum();
    eprintln!("{lifted} of {people} people in {} frames lifted", frames.len());
    if filled > 0 {
        eprintln!("{filled} missing joints carried on from earlier frames");
    }
    if lifted < people && lifted > 0 {
        eprintln!("the first who was not: {}", first_reason(frames));
    }
}

//! The image.

use super::{Files, Program, Variables, root};

const DOCKERFILE: &str = "deploy/Dockerfile";

/// Instructions of a Dockerfile, with continued lines as one.
fn instructions(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The variables that the image sets.
pub(super) fn image_variables(files: &Files) -> Variables {
    let text = files.text(DOCKERFILE);
    let pairs = instructions(&text).into_iter().filter_map(|line| line.strip_prefix("ENV ").map(str::to_owned));
    let pairs: Vec<String> = pairs.flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let ours = pairs.iter().filter_map(|pair| pair.split_once('=')).filter(|(name, _)| name.starts_with("MALL_"));
    ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn compare_dockerfile(files: &Files, program: &Program, faults: &mut Vec<String>) {
    let text = files.text(DOCKERFILE);
    let (packages, manifest) = (files.text("Cargo.lock"), files.text("Cargo.toml"));
    let mut command = Vec::new();
    for line in instructions(&text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "COPY" if !line.contains("--from") && !root().join(words[1]).exists() => {
                faults.push(format!("{DOCKERFILE}: there is no {}", words[1]));
            }
            "RUN" if line.contains("cargo build") => {
                for pair in words.windows(2) {
                    let is_known = match pair[0] {
                        "--package" => packages.contains(&format!("\nname = \"{}\"\n", pair[1])),
                        "--profile" => manifest.contains(&format!("\n[profile.{}]\n", pair[1])),
                        "cp" => pair[1].starts_with("target/fat/"),
                        _ => true,
                    };
                    if !is_known {
                        faults.push(format!("{DOCKERFILE}: there is no {} for {}", pair[1], pair[0]));
                    }
                }
            }
            "CMD" => command = line.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
            _ => {}
        }
    }
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    program.compare(DOCKERFILE, (&arguments, &image_variables(files)), |_| None, faults);
    if !text.contains("ENTRYPOINT [\"mall\"]") || !text.contains("/usr/local/bin/mall\n") {
        faults.push(format!("{DOCKERFILE}: it does not run mall"));
    }
}

//! Calls a hook from the warm cache, again and again: `call COMPONENT CONTEXT CACHE COUNT`. For measuring.
//!
//! Each time it does all that is done for one call: it reads the compiled component from the cache, verifies and maps
//! it, instantiates it, and asks for the plan of the deployment that the JSON file CONTEXT describes. Prints the medians
//! in microseconds.

#![expect(clippy::disallowed_methods, reason = "an example reads the files that it is told on its command line")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_model::hook::Context;
use jecloud_sandbox::{InProcessCompiler, Sandbox};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [component, context, cache, count] = arguments.as_slice() else {
        return Err("usage: call COMPONENT CONTEXT CACHE COUNT".into());
    };
    let component = std::fs::read(component)?;
    let context: Context = serde_json::from_slice(&std::fs::read(context)?)?;
    let count: usize = count.to_str().and_then(|count| count.parse().ok()).ok_or("COUNT is not a number")?;

    let start = Instant::now();
    let sandbox = Sandbox::new(PathBuf::from(cache), Box::new(InProcessCompiler))?;
    println!("engine {}", start.elapsed().as_micros());
    // This one compiles, if nobody has yet.
    let start = Instant::now();
    sandbox.load(&component)?;
    println!("first {}", start.elapsed().as_micros());

    let (mut loads, mut calls, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let start = Instant::now();
        let hook = sandbox.load(&component)?;
        let loaded = start.elapsed();
        let called = hook.prepare_deploy(&context)?;
        let done = start.elapsed();
        if let Err(problem) = called.answer {
            return Err(format!("the hook makes no plan: {problem:?}").into());
        }
        loads.push(loaded);
        calls.push(done - loaded);
        all.push(done);
    }
    println!("load {}\ncall {}\nall {}", median(loads), median(calls), median(all));
    Ok(())
}

fn median(mut durations: Vec<Duration>) -> u128 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0, Duration::as_micros)
}

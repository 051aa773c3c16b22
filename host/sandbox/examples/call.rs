//! Calls a hook from the warm cache, again and again: `call COMPONENT CONTEXT CACHE COUNT`. For measuring.
//!
//! Each time it does all that is done for one call of a process that has not used the hook before: it reads the compiled
//! component from the cache, verifies and maps it, instantiates it, and asks for the plan of the deployment that the JSON
//! file CONTEXT describes. `again` is a call of a hook that is loaded already. Prints the medians in microseconds.

#![expect(clippy::disallowed_methods, reason = "an example reads the files that it is told on its command line")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_model::hook::Context;
use jecloud_model::ids::Digest;
use jecloud_sandbox::{InProcessCompiler, Sandbox, SandboxError};

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

    let digest = Digest::of(&component);
    let (mut loads, mut calls, mut all, mut again) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        // A sandbox keeps what it has loaded; a new one has only the disk.
        let sandbox = Sandbox::new(PathBuf::from(cache), Box::new(InProcessCompiler))?;
        let start = Instant::now();
        let hook = sandbox.load_known(&digest, || Ok::<_, SandboxError>(component.clone()))?;
        let loaded = start.elapsed();
        let called = hook.prepare_deploy(&context)?;
        let done = start.elapsed();
        if let Err(problem) = called.answer {
            return Err(format!("the hook makes no plan: {problem:?}").into());
        }
        loads.push(loaded);
        calls.push(done - loaded);
        all.push(done);
        let start = Instant::now();
        hook.prepare_deploy(&context)?;
        again.push(start.elapsed());
    }
    println!("load {}\ncall {}\nall {}\nagain {}", median(loads), median(calls), median(all), median(again));
    Ok(())
}

fn median(mut durations: Vec<Duration>) -> u128 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0, Duration::as_micros)
}

//! The upstream and its callers on one thread. It never sleeps while there is load: to wake a sleeping core costs the gateway that does
//! it some microseconds on a virtual machine, more often the more slowly it answers, and none of them are its own work.

use std::io::{Write as _, stdin, stdout};

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::load::{self, Plan};
use crate::{Result, upstream};

/// Serves the upstream on `listen` and makes the load that the lines of stdin ask for; prints requests per second for each.
pub(crate) fn run(listen: &str) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, upstream::serve(listen))?;
    for line in stdin().lines() {
        let line = line?;
        let plan = Plan::new(&line.split_whitespace().collect::<Vec<_>>())?;
        let rate = tasks.block_on(&runtime, async {
            let awake = spawn_local(async {
                loop {
                    yield_now().await;
                }
            });
            let rate = load::run(plan).await;
            awake.abort();
            rate
        })?;
        println!("{rate:.0}");
        stdout().flush()?;
    }
    Ok(())
}

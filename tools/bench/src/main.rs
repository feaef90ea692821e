//! `opm-bench bare|drive`: the other parts of a comparison with `opm`; `compare.py` runs them together.

mod bare;
mod drive;
mod load;
mod upstream;

use std::env::args;
use std::error::Error;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a command may fail with.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: opm-bench bare LISTEN UPSTREAM
       opm-bench drive LISTEN       then lines `ADDRESS relay|convert|large|stream|paced CONNECTIONS REQUESTS` on stdin";

fn main() -> Result<()> {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["bare", listen, upstream] => bare::serve(listen, upstream),
        ["drive", listen] => drive::run(listen),
        _ => Err(USAGE.into()),
    }
}

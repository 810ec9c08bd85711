//! A state directory on a disk that is full: reading stops, the job says so, and goes on when there is room, or ends with an error and goes on when
//! it is started again. The disk is a small file system in memory, which only root can make: elsewhere the tests say that they were passed over.

use acceptance::child::Run;
use acceptance::flights::{Flights, repeated};
use acceptance::{place, watchdog};
use anyhow::{Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    /// Makes one of so many mebibytes, if that is allowed.
    fn of(mib: u32) -> Result<Option<Self>> {
        let folder = watchdog::folder("disk")?;
        let mount = Run::new("mount").args(["-t", "tmpfs", "-o"]).arg(format!("size={mib}m")).arg("thalweg");
        let made = mount.arg(&folder).end();
        if made.is_ok_and(|ended| ended.code == Some(0)) {
            return Ok(Some(Self(folder)));
        }
        println!("passed over: no file system can be mounted here");
        Ok(None)
    }

    /// Takes so many mebibytes of it.
    fn fill(&self, mib: usize) -> Result<PathBuf> {
        let path = self.0.join("filler");
        fs::write(&path, vec![1_u8; mib << 20])?;
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Run::new("umount").arg(&self.0).end();
    }
}

fn flights(state: &Path, input: &Path) -> Result<Flights> {
    // the component is compiled before the disk is full
    Flights::over(place::file("guest-examples/flights/dirty.csv"))?.ok()?;
    let mut run = Flights::over(input)?.with(&["--epoch-ms", "20"]);
    run.state = Some(state.to_owned());
    Ok(run)
}

#[test]
fn a_commit_that_has_no_room_waits_for_it() -> Result<()> {
    let Some(disk) = Disk::of(200)? else { return Ok(()) };
    let run = flights(&disk.0.join("state"), &repeated(4)?)?.with(&["--disk-reserve-mib", "64"]);
    let filler = disk.fill(150)?;
    let mut running = run.command()?.start()?;
    running.until("that it says so", |running| Ok(running.errors().contains("is full")))?;
    let epoch = run.epoch();
    sleep(Duration::from_secs(1));
    ensure!(running.runs()? && run.epoch() == epoch, "nothing is committed to a full disk");
    fs::remove_file(filler)?;
    let ended = running.wait()?;
    ensure!(ended.code == Some(0) && ended.err.contains("has room again"), "{ended}");
    run.equals_the_oracle()
}

#[test]
fn a_disk_that_stays_full_ends_the_job_and_it_goes_on_when_it_is_started_again() -> Result<()> {
    let Some(disk) = Disk::of(200)? else { return Ok(()) };
    let run = flights(&disk.0.join("state"), &repeated(4)?)?;
    let filler = disk.fill(150)?;
    let ended = run.command()?.args(["--disk-wait-seconds", "1"]).end()?;
    ensure!(ended.code == Some(1) && ended.err.contains("error[STATE_DISK_FULL]"), "{ended}");
    fs::remove_file(filler)?;
    run.ok()?;
    run.equals_the_oracle()
}

#[test]
fn a_disk_that_is_filled_to_its_last_byte_loses_and_doubles_nothing() -> Result<()> {
    let Some(disk) = Disk::of(100)? else { return Ok(()) };
    let run = flights(&disk.0.join("state"), &repeated(4)?)?;
    let mut running = run.command()?.args(["--disk-reserve-mib", "0", "--disk-wait-seconds", "1"]).start()?;
    running.reaches("a commit", |_| Ok(run.epoch() > 0))?;
    // to the last byte, whatever the job leaves
    let filler = disk.0.join("filler");
    let filled = fs::write(&filler, vec![1_u8; 100 << 20]);
    let ended = running.wait()?;
    ensure!(filled.is_err(), "the disk is larger than it should be");
    // it may have been done before, or have had its room in files that it had already
    let failed = ended.code == Some(1) && ended.err.contains("error[STATE_DISK_FULL]");
    ensure!(failed || ended.code == Some(0), "{ended}");
    fs::remove_file(filler)?;
    // what the job left may be more than the usual reserve leaves of so small a disk
    run.command()?.args(["--disk-reserve-mib", "0"]).ok()?;
    run.equals_the_oracle()
}

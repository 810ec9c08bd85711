//! The functions of WASI 0.2 that a guest without rights reaches. In: a call of the guest. Out: an answer out of the store's [`World`].
//!
//! Handles stand for nothing: a stream is known by its number, everything else is alike. Files and sockets are never made, so that
//! of them there is nothing but the refusal.

use super::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};
use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::filesystem::{preopens, types as files};
use super::bindings::wasi::io::{error, poll, streams};
use super::bindings::wasi::random::{insecure, insecure_seed, random};
use super::bindings::wasi::sockets::{
    instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket,
};
use super::{Output, RANDOM_BYTES_MAX, STDERR, STDOUT};
use crate::store::GuestStore;
use error::Error as IoError;
use files::Descriptor;
use network::{ErrorCode, IpAddressFamily, Network};
use poll::Pollable;
use streams::{InputStream, OutputStream, StreamError};
use wasmtime::Result;
use wasmtime::component::Resource;

/// Bytes that a stream takes at once.
const WRITE_BYTES: u64 = 1 << 16;

/// Any handle whose number says nothing.
fn handle<T: 'static>() -> Resource<T> {
    Resource::new_own(0)
}

impl environment::Host for GuestStore {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.world.grants.env.clone().into_iter().collect())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for GuestStore {
    fn exit(&mut self, status: std::result::Result<(), ()>) -> Result<()> {
        let how = if status.is_ok() { "with success" } else { "with an error" };
        Err(wasmtime::Error::msg(format!("it ended its process {how}")))
    }
}

impl stdin::Host for GuestStore {
    fn get_stdin(&mut self) -> Result<Resource<InputStream>> {
        Ok(handle())
    }
}

impl stdout::Host for GuestStore {
    fn get_stdout(&mut self) -> Result<Resource<OutputStream>> {
        Ok(Resource::new_own(STDOUT.index as u32))
    }
}

impl stderr::Host for GuestStore {
    fn get_stderr(&mut self) -> Result<Resource<OutputStream>> {
        Ok(Resource::new_own(STDERR.index as u32))
    }
}

impl terminal_input::Host for GuestStore {}

impl terminal_input::HostTerminalInput for GuestStore {
    fn drop(&mut self, _: Resource<terminal_input::TerminalInput>) -> Result<()> {
        Ok(())
    }
}

impl terminal_output::Host for GuestStore {}

impl terminal_output::HostTerminalOutput for GuestStore {
    fn drop(&mut self, _: Resource<terminal_output::TerminalOutput>) -> Result<()> {
        Ok(())
    }
}

impl terminal_stdin::Host for GuestStore {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for GuestStore {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for GuestStore {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl monotonic_clock::Host for GuestStore {
    fn now(&mut self) -> Result<u64> {
        Ok(self.world.monotonic())
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(super::STEP_NS)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<Pollable>> {
        self.world.wait_until(when);
        Ok(handle())
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<Pollable>> {
        let instant = self.world.instant().saturating_add(when);
        self.subscribe_instant(instant)
    }
}

impl wall_clock::Host for GuestStore {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let now = self.world.wall();
        Ok(wall_clock::Datetime { seconds: now / 1_000_000_000, nanoseconds: (now % 1_000_000_000) as u32 })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl files::Host for GuestStore {}

impl files::HostDescriptor for GuestStore {
    fn drop(&mut self, _: Resource<Descriptor>) -> Result<()> {
        Ok(())
    }
}

impl preopens::Host for GuestStore {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        Ok(Vec::new())
    }
}

impl error::Host for GuestStore {}

impl error::HostError for GuestStore {
    fn to_debug_string(&mut self, _: Resource<IoError>) -> Result<String> {
        Ok("not granted".to_owned())
    }

    fn drop(&mut self, _: Resource<IoError>) -> Result<()> {
        Ok(())
    }
}

impl poll::Host for GuestStore {
    /// Nothing is ever waited for.
    fn poll(&mut self, waits: Vec<Resource<Pollable>>) -> Result<Vec<u32>> {
        if waits.is_empty() {
            return Err(wasmtime::Error::msg("it waits for nothing"));
        }
        Ok((0..waits.len() as u32).collect())
    }
}

impl poll::HostPollable for GuestStore {
    fn ready(&mut self, _: Resource<Pollable>) -> Result<bool> {
        Ok(true)
    }

    fn block(&mut self, _: Resource<Pollable>) -> Result<()> {
        Ok(())
    }

    fn drop(&mut self, _: Resource<Pollable>) -> Result<()> {
        Ok(())
    }
}

/// What a call of a stream gives.
type Streamed<T> = Result<std::result::Result<T, StreamError>>;

impl streams::Host for GuestStore {}

impl streams::HostInputStream for GuestStore {
    fn read(&mut self, _: Resource<InputStream>, _: u64) -> Streamed<Vec<u8>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_read(&mut self, _: Resource<InputStream>, _: u64) -> Streamed<Vec<u8>> {
        Ok(Err(StreamError::Closed))
    }

    fn skip(&mut self, _: Resource<InputStream>, _: u64) -> Streamed<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_skip(&mut self, _: Resource<InputStream>, _: u64) -> Streamed<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn subscribe(&mut self, _: Resource<InputStream>) -> Result<Resource<Pollable>> {
        Ok(handle())
    }

    fn drop(&mut self, _: Resource<InputStream>) -> Result<()> {
        Ok(())
    }
}

fn output(stream: &Resource<OutputStream>) -> Output {
    if stream.rep() == STDERR.index as u32 { STDERR } else { STDOUT }
}

impl streams::HostOutputStream for GuestStore {
    fn check_write(&mut self, _: Resource<OutputStream>) -> Streamed<u64> {
        Ok(Ok(WRITE_BYTES))
    }

    fn write(&mut self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Streamed<()> {
        self.print(output(&stream), &contents);
        Ok(Ok(()))
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Streamed<()> {
        self.write(stream, contents)
    }

    fn flush(&mut self, _: Resource<OutputStream>) -> Streamed<()> {
        Ok(Ok(()))
    }

    fn blocking_flush(&mut self, _: Resource<OutputStream>) -> Streamed<()> {
        Ok(Ok(()))
    }

    fn subscribe(&mut self, _: Resource<OutputStream>) -> Result<Resource<Pollable>> {
        Ok(handle())
    }

    fn write_zeroes(&mut self, _: Resource<OutputStream>, _: u64) -> Streamed<()> {
        Ok(Ok(())) // zeroes are no text
    }

    fn blocking_write_zeroes_and_flush(&mut self, _: Resource<OutputStream>, _: u64) -> Streamed<()> {
        Ok(Ok(()))
    }

    fn splice(&mut self, _: Resource<OutputStream>, _: Resource<InputStream>, _: u64) -> Streamed<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_splice(&mut self, _: Resource<OutputStream>, _: Resource<InputStream>, _: u64) -> Streamed<u64> {
        Ok(Err(StreamError::Closed))
    }

    fn drop(&mut self, _: Resource<OutputStream>) -> Result<()> {
        Ok(())
    }
}

impl random::Host for GuestStore {
    fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        if len > RANDOM_BYTES_MAX {
            return Err(self.deny(format!("{len} random bytes at once, where {RANDOM_BYTES_MAX} are the most")));
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.world.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.world.number()
    }
}

impl insecure::Host for GuestStore {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        random::Host::get_random_bytes(self, len)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.world.number()
    }
}

impl insecure_seed::Host for GuestStore {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.world.number()?, self.world.number()?))
    }
}

impl network::Host for GuestStore {}

impl network::HostNetwork for GuestStore {
    fn drop(&mut self, _: Resource<Network>) -> Result<()> {
        Ok(())
    }
}

impl instance_network::Host for GuestStore {
    fn instance_network(&mut self) -> Result<Resource<Network>> {
        Ok(handle())
    }
}

/// What making a socket gives.
type Made<T> = Result<std::result::Result<Resource<T>, ErrorCode>>;

impl ip_name_lookup::Host for GuestStore {
    fn resolve_addresses(&mut self, _: Resource<Network>, _: String) -> Made<ip_name_lookup::ResolveAddressStream> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl ip_name_lookup::HostResolveAddressStream for GuestStore {
    fn drop(&mut self, _: Resource<ip_name_lookup::ResolveAddressStream>) -> Result<()> {
        Ok(())
    }
}

impl tcp::Host for GuestStore {}

impl tcp::HostTcpSocket for GuestStore {
    fn drop(&mut self, _: Resource<tcp::TcpSocket>) -> Result<()> {
        Ok(())
    }
}

impl tcp_create_socket::Host for GuestStore {
    fn create_tcp_socket(&mut self, _: IpAddressFamily) -> Made<tcp::TcpSocket> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl udp::Host for GuestStore {}

impl udp::HostUdpSocket for GuestStore {
    fn drop(&mut self, _: Resource<udp::UdpSocket>) -> Result<()> {
        Ok(())
    }
}

impl udp_create_socket::Host for GuestStore {
    fn create_udp_socket(&mut self, _: IpAddressFamily) -> Made<udp::UdpSocket> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

//! The wire coder against bytes that Beam's own coders made.
//!
//! The literals were printed by apache-beam 2.77.0: `WindowedValueCoder(element,
//! window).get_impl().encode_nested(value)`, concatenated for the values that the assertions name.

use super::*;
use thalweg_core::batch::{BatchBuilder, Timing};
use thalweg_core::time::EventTime;

/// `('a', 1)` at the minimum, `('bc', 300)` at 1.5 s, `('', -1)` at the maximum, in the global window.
const GLOBAL: &[u8] = b"\
    \x7f\xdf\x3b\x64\x5a\x1c\xac\x09\x00\x00\x00\x01\x0f\x01\x61\x01\x80\x00\x00\x00\x00\x00\x05\xdc\x00\x00\x00\x01\
    \x0f\x02\x62\x63\xac\x02\x80\x20\xc4\x9b\xa5\xe3\x53\xf7\x00\x00\x00\x01\x0f\x00\xff\xff\xff\xff\xff\xff\xff\xff\
    \xff\x01";

/// `'x'` at -1 s in [-60, 0) and [-30, 30); then `'yz'`, `''`, `'on'` at 90 s in [60, 120) with panes of every form.
const INTERVAL: &[u8] = b"\
    \x7f\xff\xff\xff\xff\xff\xfc\x18\x00\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\xe0\xd4\x03\x80\x00\x00\x00\x00\
    \x00\x75\x30\xe0\xd4\x03\x0f\x01\x78\x80\x00\x00\x00\x00\x01\x5f\x90\x00\x00\x00\x01\x80\x00\x00\x00\x00\x01\xd4\
    \xc0\xe0\xd4\x03\x28\x03\x01\x02\x79\x7a\x80\x00\x00\x00\x00\x01\x5f\x90\x00\x00\x00\x01\x80\x00\x00\x00\x00\x01\
    \xd4\xc0\xe0\xd4\x03\x11\x02\x00\x80\x00\x00\x00\x00\x01\x5f\x90\x00\x00\x00\x01\x80\x00\x00\x00\x00\x01\xd4\xc0\
    \xe0\xd4\x03\x07\x02\x6f\x6e";

fn kv_coder() -> WireCoder {
    let element = Coder::Kv(Arc::new(Coder::StringUtf8), Arc::new(Coder::VarInt));
    WireCoder { element: Arc::new(element), window: WindowCoder::Global }
}

fn text_coder() -> WireCoder {
    WireCoder { element: Arc::new(Coder::StringUtf8), window: WindowCoder::Interval }
}

fn seconds(start: i64, end: i64) -> Window {
    Window::Interval { start: EventTime(start * 1000), end: EventTime(end * 1000) }
}

fn encoded(coder: &WireCoder, batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    coder.encode(batch, batch.rows(), &mut out);
    out
}

#[test]
fn python_pairs_in_the_global_window_are_indexed_and_written_back() -> Result<()> {
    let message = Bytes::from_static(GLOBAL);
    let batch = kv_coder().decode(message.clone())?;
    let seen: Vec<_> = batch.rows().iter().map(|r| (batch.key(r), batch.value(r), r.time)).collect();
    assert_eq!(
        seen,
        [
            (&b"a"[..], &b"\x01"[..], EventTime::MIN),
            (b"bc", b"\xac\x02", EventTime(1500)),
            (b"", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", EventTime::MAX),
        ]
    );
    assert_eq!(batch.arena().as_ptr(), message.as_ptr());
    assert_eq!((batch.window_sets().len(), batch.panes().len()), (1, 1));
    assert_eq!(batch.rows().first().map(|r| r.hash), Some(key_hash(b"a")));
    assert_eq!(encoded(&kv_coder(), &batch), GLOBAL);
    Ok(())
}

#[test]
fn python_intervals_and_panes_are_indexed_and_written_back() -> Result<()> {
    let batch = text_coder().decode(Bytes::from_static(INTERVAL))?;
    let windows: Vec<_> = batch.rows().iter().map(|r| batch.windows(r).to_vec()).collect();
    let minute = vec![seconds(60, 120)];
    assert_eq!(windows, [vec![seconds(-60, 0), seconds(-30, 30)], minute.clone(), minute.clone(), minute]);
    let panes: Vec<_> = batch.rows().iter().map(|r| batch.pane(r)).collect();
    let pane = |timing, first, last, index, non_speculative| Pane { timing, first, last, index, non_speculative };
    assert_eq!(
        panes,
        [
            Pane::NO_FIRING,
            pane(Timing::Late, false, false, 3, 1),
            pane(Timing::Early, true, false, 2, -1),
            pane(Timing::OnTime, true, true, 0, 0),
        ]
    );
    assert_eq!(batch.rows().iter().map(|r| batch.value(r)).collect::<Vec<_>>(), [&b"x"[..], b"yz", b"", b"on"]);
    assert_eq!(encoded(&text_coder(), &batch), INTERVAL);
    Ok(())
}

#[test]
fn custom_windows_keep_their_end_and_their_bytes() -> Result<()> {
    // b'v' at 1 s in a window of an unknown coder that writes b'win' and ends at 10 s (max timestamp 9.999)
    let bytes =
        b"\x80\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x00\x01\x80\x00\x00\x00\x00\x00\x27\x0f\x03\x77\x69\x6e\x0f\x01\x76";
    let coder = WireCoder { element: Arc::new(Coder::LengthPrefix), window: WindowCoder::Custom };
    let batch = coder.decode(Bytes::from_static(bytes))?;
    let window = Window::Custom { max: EventTime(9_999), encoded: Bytes::from_static(b"win") };
    assert_eq!(batch.rows().first().map(|r| batch.windows(r)), Some(&[window.clone()][..]));
    assert_eq!(encoded(&coder, &batch), bytes);
    let mut key = Vec::new();
    coder.window.write_key(&window, &mut key);
    assert_eq!(key, b"win");
    Ok(())
}

#[test]
fn a_row_can_be_sent_in_one_of_its_windows() -> Result<()> {
    let batch = text_coder().decode(Bytes::from_static(INTERVAL))?;
    let mut out = Vec::new();
    for row in batch.rows().iter().take(1) {
        text_coder().encode_in(&seconds(-30, 30), &batch, row, &mut out);
    }
    let alone = text_coder().decode(Bytes::from(out))?;
    assert_eq!(alone.window_sets().iter().map(|w| w.to_vec()).collect::<Vec<_>>(), [vec![seconds(-30, 30)]]);
    Ok(())
}

/// A repeatable sequence of numbers that look random. Source: xorshift64 (Marsaglia, 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.next(200)).map(|_| self.next(256) as u8).collect()
    }

    fn window(&mut self) -> Window {
        let start = self.next(1 << 40).cast_signed() - (1 << 39);
        Window::Interval { start: EventTime(start), end: EventTime(start + 1 + self.next(1 << 20).cast_signed()) }
    }

    fn pane(&mut self) -> Pane {
        let timing = [Timing::Early, Timing::OnTime, Timing::Late][self.next(3) as usize];
        let index = self.next(300);
        let non_speculative = if timing == Timing::Early { -1 } else { self.next(300).cast_signed() };
        Pane { timing, first: self.next(2) == 0, last: self.next(2) == 0, index, non_speculative }
    }
}

#[test]
fn what_is_written_is_read_again() -> Result<()> {
    let element = Coder::Kv(Arc::new(Coder::LengthPrefix), Arc::new(Coder::Bytes));
    let coder = WireCoder { element: Arc::new(element), window: WindowCoder::Interval };
    let mut numbers = Numbers(0x7ba1_6e5d);
    for _ in 0..200 {
        let mut batch = BatchBuilder::new();
        let (windows, pane) = ([numbers.window(), numbers.window()], numbers.pane());
        for _ in 0..numbers.next(20) {
            let time = EventTime(numbers.next(1 << 50).cast_signed() - (1 << 49));
            let (key, value) = (numbers.bytes(), numbers.bytes());
            if numbers.next(3) == 0 {
                batch.push(&key, &value, time, &[numbers.window()]);
            } else {
                batch.push_in_pane(&key, &value, time, &windows, pane);
            }
        }
        let batch = batch.finish();
        let read = coder.decode(Bytes::from(encoded(&coder, &batch)))?;
        let elements = |b: &Batch| -> Vec<_> {
            let element =
                |r: &Row| (b.shared(r.key), b.shared(r.value), r.time, r.hash, b.windows(r).to_vec(), b.pane(r));
            b.rows().iter().map(element).collect()
        };
        assert_eq!(elements(&read), elements(&batch));
    }
    Ok(())
}

#[test]
fn cut_off_and_hostile_messages_are_errors() {
    for n in 1..GLOBAL.len() - 1 {
        let whole_elements = [16, 34].contains(&n);
        assert_eq!(kv_coder().decode(Bytes::from_static(&GLOBAL[..n])).is_ok(), whole_elements, "{n}");
    }
    let endless = b"\x80\0\0\0\0\0\0\0\x7f\xff\xff\xff\x0f\x00\x00";
    assert!(kv_coder().decode(Bytes::from_static(endless)).is_err());
}

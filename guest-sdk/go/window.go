package thalweg

import (
	"encoding/binary"
	"thalweg/internal/coder"
)

// Interval is a window of time: from Start to before End.
type Interval struct{ Start, End EventTime }

// Window is a window of an element. Windows can be compared by ==.
type Window struct{ encoded string }

// Global is the window of all of time.
var Global Window

// Window is the interval as a window.
func (i Interval) Window() Window { return Window{string(i.append(nil))} }

// Overlaps says whether there is an instant in both.
func (i Interval) Overlaps(other Interval) bool { return i.Start < other.End && other.Start < i.End }

// append appends Beam's encoding, `beam:coder:interval_window:v1`.
func (i Interval) append(out []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(i.End)^1<<63)
	return coder.AppendVarint(out, uint64(i.End-i.Start))
}

func decodeInterval(in []byte) (Interval, bool) {
	if len(in) < 9 {
		return Interval{}, false
	}
	end := int64(binary.BigEndian.Uint64(in) ^ 1<<63)
	span, rest, err := coder.Varint(in[8:])
	start := end - int64(span)
	if err != nil || len(rest) > 0 || int64(span) < 0 || start > end {
		return Interval{}, false
	}
	return Interval{EventTime(start), EventTime(end)}, true
}

// IsGlobal says whether it is the window of all of time.
func (w Window) IsGlobal() bool { return w.encoded == "" }

// Interval is the window as one of time, if it is one.
func (w Window) Interval() (Interval, bool) { return decodeInterval([]byte(w.encoded)) }

// Encoded is the window as the pipeline's window coder encodes it.
func (w Window) Encoded() []byte { return []byte(w.encoded) }

// WindowOf is a window by its encoding.
func WindowOf(encoded []byte) Window { return Window{string(encoded)} }

// appendWindows appends an entry of a dictionary of window sets.
func appendWindows(out []byte, windows []Window) []byte {
	for _, window := range windows {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(window.encoded)))
		out = append(out, window.encoded...)
	}
	return out
}

// WindowsOf reads an entry of a dictionary of window sets.
func WindowsOf(set []byte) (windows []Window) {
	for len(set) >= 4 {
		length := uint64(binary.LittleEndian.Uint32(set))
		if set = set[4:]; length > uint64(len(set)) {
			break
		}
		windows = append(windows, Window{string(set[:length])})
		set = set[length:]
	}
	return windows
}

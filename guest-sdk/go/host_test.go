package thalweg_test

import (
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// silent is a host that nobody asks.
type silent struct{ host.Host }

func (silent) Moment(int64, uint64)     {}
func (silent) Log(uint8, int64, string) {}

// keyed is a frame of one element of key and number.
func keyed(key string, n byte) []byte {
	w := frame.Start(nil, 1)
	arena := append([]byte(key), n)
	end := uint32(len(key))
	w.Section(frame.Time, frame.Long(nil, 0))
	w.Section(frame.Value, frame.Pair(nil, end, end+1))
	w.Section(frame.Arena, arena)
	w.Section(frame.Group, frame.Number(nil, 0))
	w.Entries(frame.Groups, 1, 0, frame.Pair(frame.Pair(nil, 0, end), 0, 0), nil)
	return w.Bytes()
}

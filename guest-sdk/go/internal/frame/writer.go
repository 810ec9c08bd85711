package frame

// Writer puts sections one after the other into a buffer.
type Writer struct{ buffer []byte }

// Start begins a frame of rows, in a buffer that is written over.
func Start(buffer []byte, rows int) Writer {
	w := Writer{buffer[:0]}
	w.Section(Header, Pair(nil, layoutOne, uint32(rows)))
	return w
}

// Section adds a section, whose payload may stand in several places.
func (w *Writer) Section(id uint32, parts ...[]byte) {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	w.buffer = Pair(w.buffer, id, uint32(length))
	for _, part := range parts {
		w.buffer = append(w.buffer, part...)
	}
	for len(w.buffer)%8 != 0 {
		w.buffer = append(w.buffer, 0)
	}
}

// Column adds a section, unless it is empty.
func (w *Writer) Column(id uint32, payload []byte) {
	if len(payload) > 0 {
		w.Section(id, payload)
	}
}

// Entries adds a section of two numbers, entries, and bytes that these point into.
func (w *Writer) Entries(id, first, second uint32, entries, bytes []byte) {
	w.Section(id, Pair(nil, first, second), entries, bytes)
}

// Bytes gives the frame. It is the writer's buffer.
func (w *Writer) Bytes() []byte { return w.buffer }

// Pair appends two numbers, or a range.
func Pair(to []byte, a, b uint32) []byte {
	return order.AppendUint64(to, uint64(a)|uint64(b)<<32)
}

// Range appends the range from a place to the end of some bytes.
func Range(to []byte, start int, bytes []byte) []byte {
	return Pair(to, uint32(start), uint32(len(bytes)))
}

// Number appends a number.
func Number(to []byte, n uint32) []byte { return order.AppendUint32(to, n) }

// Long appends a long number.
func Long(to []byte, n int64) []byte { return order.AppendUint64(to, uint64(n)) }

//go:build wasip1

// Package component is the component's side of the contract: its imports and exports in the canonical ABI, written by hand.
//
// A result that does not fit into a number stands in a return area; lists and strings in it are memory that the host asked for by
// `cabi_realloc`. The collector of Go does not move memory, so an address stays good while something holds it.
package component

import (
	"thalweg/internal/host"
	"unsafe"
)

// The moment and the buffer for lines are of the adapter that stands in the place of WASI (componentize/preview1.wat of the host).

//go:wasmimport wasi_snapshot_preview1 thalweg_moment
//go:noescape
func moment(now int64, seed uint64)

//go:wasmimport wasi_snapshot_preview1 thalweg_lines
//go:noescape
func lines(at unsafe.Pointer, bytes uint32)

//go:wasmimport wasi_snapshot_preview1 thalweg_flush
//go:noescape
func flush()

//go:wasmimport thalweg:udf/log@1.0.0 write
//go:noescape
func logWrite(level, hasRow, row uint32, at unsafe.Pointer, length uint32)

//go:wasmimport thalweg:udf/outputs@1.0.0 emit
//go:noescape
func outputsEmit(at unsafe.Pointer, length uint32)

//go:wasmimport thalweg:udf/state@1.0.0 read
//go:noescape
func stateRead(slot uint32, groups unsafe.Pointer, count uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/state@1.0.0 lookup
//go:noescape
func stateLookup(slot uint32, at unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/state@1.0.0 scan
//go:noescape
func stateScan(slot, group uint32, start unsafe.Pointer, startLength, hasEnd uint32, end unsafe.Pointer, endLength, maxBytes uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/iterables@1.0.0 read
//go:noescape
func iterablesRead(token unsafe.Pointer, length, maxBytes uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/side-inputs@1.0.0 read
//go:noescape
func sideRead(input, windows, hasKey uint32, key unsafe.Pointer, keyLength, hasStart uint32, start unsafe.Pointer, startLength, maxBytes uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/side-inputs@1.0.0 keys
//go:noescape
func sideKeys(input, windows, hasStart uint32, start unsafe.Pointer, startLength, maxBytes uint32, result unsafe.Pointer)

//go:wasmimport thalweg:udf/tables@1.0.0 lookup
//go:noescape
func tablesLookup(table uint32, at unsafe.Pointer, length uint32, result unsafe.Pointer)

// imports are the host of a component.
type imports struct{}

// answer is the return area of imports. They never meet: a guest is not entered again while it waits for one.
var answer [5]uint32

func address(bytes []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes))
}

// taken gives what the host put into memory.
func taken(at, length uint32) []byte {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(at)), length)
}

// pointer is an address of the memory.
func pointer(at uint32) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), uintptr(at))
}

// list gives the list in the return area.
func list() []byte {
	found := taken(answer[0], answer[1])
	release()
	return found
}

// page gives the page in the return area.
func page() host.Page {
	found := host.Page{Rows: taken(answer[0], answer[1])}
	if answer[2]&0xff != 0 {
		found.Next = taken(answer[3], answer[4])
	}
	release()
	return found
}

func option(present bool) uint32 {
	if present {
		return 1
	}
	return 0
}

func (imports) Log(level uint8, row int64, message string) {
	flush()
	logWrite(uint32(level), option(row >= 0), uint32(max(row, 0)), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

func (imports) Emit(rows []byte) { outputsEmit(address(rows)) }

func (imports) Read(slot uint32, groups []uint32) []byte {
	stateRead(slot, unsafe.Pointer(unsafe.SliceData(groups)), uint32(len(groups)), unsafe.Pointer(&answer))
	return list()
}

func (imports) Lookup(slot uint32, subkeys []byte) []byte {
	at, length := address(subkeys)
	stateLookup(slot, at, length, unsafe.Pointer(&answer))
	return list()
}

func (imports) Scan(slot, group uint32, start, end []byte) host.Page {
	startAt, startLength := address(start)
	endAt, endLength := address(end)
	stateScan(slot, group, startAt, startLength, option(end != nil), endAt, endLength, host.PageBytes, unsafe.Pointer(&answer))
	return page()
}

func (imports) Iterable(token []byte) host.Page {
	at, length := address(token)
	iterablesRead(at, length, host.PageBytes, unsafe.Pointer(&answer))
	return page()
}

func (imports) Side(input, windows uint32, key *[]byte, start []byte) host.Page {
	var keyAt unsafe.Pointer
	var keyLength uint32
	if key != nil {
		keyAt, keyLength = address(*key)
	}
	startAt, startLength := address(start)
	sideRead(input, windows, option(key != nil), keyAt, keyLength, option(start != nil), startAt, startLength, host.PageBytes, unsafe.Pointer(&answer))
	return page()
}

func (imports) SideKeys(input, windows uint32, start []byte) host.Page {
	startAt, startLength := address(start)
	sideKeys(input, windows, option(start != nil), startAt, startLength, host.PageBytes, unsafe.Pointer(&answer))
	return page()
}

func (imports) Table(table uint32, keys []byte) []byte {
	at, length := address(keys)
	tablesLookup(table, at, length, unsafe.Pointer(&answer))
	return list()
}

func (imports) Moment(now int64, seed uint64) { moment(now, seed) }

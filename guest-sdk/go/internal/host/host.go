// Package host is the way out of a function: in a component the imports of the contract, in a test an object in their place. The rest of
// the SDK does not know which.
package host

// Page is a part of something that may be larger than a frame, and where to go on; nil at the end.
type Page struct{ Rows, Next []byte }

// Host is what the contract offers to functions.
type Host interface {
	// Log writes a line: log.write. A row below 0 is none.
	Log(level uint8, row int64, message string)
	// Emit takes output rows that leave before the call ends: outputs.emit.
	Emit(rows []byte)
	// Read gives cells of a slot: state.read.
	Read(slot uint32, groups []uint32) []byte
	// Lookup gives entries of a slot: state.lookup.
	Lookup(slot uint32, subkeys []byte) []byte
	// Scan gives entries of a group from a subkey to before another, which is nil if there is none; of a bag its values, from a token on: state.scan.
	Scan(slot, group uint32, start, end []byte) Page
	// Iterable gives elements of a list from a token on: iterables.read.
	Iterable(token []byte) Page
	// Side gives elements of a side input; those of a key, if there is one: side-inputs.read.
	Side(input, windows uint32, key *[]byte, start []byte) Page
	// SideKeys gives the keys of a side input: side-inputs.keys.
	SideKeys(input, windows uint32, start []byte) Page
	// Table gives the entries of a table: tables.lookup.
	Table(table uint32, keys []byte) []byte
	// Moment is told the processing time and the seed of a call before it runs.
	Moment(now int64, seed uint64)
}

// PageBytes is what is asked for at a time of things that come in pages.
const PageBytes = 256 * 1024

// Instance is an opened function.
type Instance interface {
	// Call runs an operation on a frame, and gives the frame with the results, good until the next call. A trace goes with an error
	// that was a panic.
	Call(op uint32, input []byte) (output []byte, err error)
	// Close drops the instance.
	Close()
}

// Function is a function under the name that pipelines use.
type Function struct {
	Name string
	// JSON is its entry in the description.
	JSON string
	// First tells how long the first of some values of a bag is, by slot: for package thalwegtest.
	First map[int]func(values []byte) (int, error)
	// Open makes an instance with the JSON text of a configuration.
	Open func(config []byte, host Host) (Instance, error)
}

// Functions are those of the component, in the order they were registered.
var Functions []Function

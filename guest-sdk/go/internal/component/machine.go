//go:build wasip1

package component

import (
	"os"
	"unsafe"
)

// What of the machine a function is granted. The adapter asks the host for the time and for entropy, where the runtime of Go asks the adapter. It can
// only do so while a call runs: memory is asked for, and results are released, while the component may not be left.

//go:wasmimport wasi_snapshot_preview1 thalweg_free
//go:noescape
func free(area unsafe.Pointer)

//go:wasmimport wasi_snapshot_preview1 thalweg_clock
func takeClock()

//go:wasmimport wasi_snapshot_preview1 thalweg_random
func takeRandom()

//go:wasmimport wasi:cli/environment@0.2.0 get-environment
//go:noescape
func environment(result unsafe.Pointer)

var (
	// area is where the adapter has the host put its answers.
	area [2]uint64
	// running says that a call runs.
	running bool
)

// enter says that a call begins.
func enter() {
	running = true
	free(unsafe.Pointer(&area))
}

// leave says that it is over.
func leave() {
	running = false
	free(nil)
}

// TakeClock has the clock of the language be the one that the host gives. A component that reaches this imports it.
func TakeClock() { takeClock() }

// TakeRandom has the entropy of the language be what the host gives.
func TakeRandom() { takeRandom() }

// TakeEnvironment puts the variables that are granted into the environment.
func TakeEnvironment() {
	environment(unsafe.Pointer(&answer))
	for _, pair := range unsafe.Slice((*[4]uint32)(pointer(answer[0])), answer[1]) {
		// a name that is none for Go is not granted by anybody
		_ = os.Setenv(string(taken(pair[0], pair[1])), string(taken(pair[2], pair[3])))
	}
	release()
}

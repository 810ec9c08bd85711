//go:build wasip1

package component

import (
	"fmt"
	"strings"
	"thalweg/internal/frame"
	"thalweg/internal/host"
	"unsafe"
)

// Arguments from here on are put into one buffer that is used again by the next call: the garbage of large arguments would otherwise
// have the collector run inside `cabi_realloc` all the time.
const largeBytes = 1024

// lineBytes is how much of a line of standard output or error is gathered.
const lineBytes = 4096

var (
	argument []byte
	// busy says that the buffer holds the argument of the running call.
	busy bool
	// held keeps what the host asked for until somebody took it.
	held [][]byte
	// line is the buffer of the adapter.
	line [lineBytes]byte
	// result is the return area of exports, and kept what it points to.
	result [8]uint32
	kept   [3]string
	output []byte

	instances []host.Instance
	described string
)

func init() { lines(unsafe.Pointer(&line), lineBytes) }

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if !running {
		return allocated(old, oldSize, align, size)
	}
	free(nil)
	at := allocated(old, oldSize, align, size)
	free(unsafe.Pointer(&area))
	return at
}

func allocated(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size == 0 {
		return pointer(align)
	}
	if !busy && old == nil && size >= largeBytes {
		if cap(argument) < int(size) {
			argument = make([]byte, size+size/4)
		}
		busy = true
		return unsafe.Pointer(unsafe.SliceData(argument))
	}
	bytes := make([]byte, size)
	if old != nil {
		copy(bytes, unsafe.Slice((*byte)(old), oldSize))
	}
	held = append(held, bytes)
	return unsafe.Pointer(unsafe.SliceData(bytes))
}

// release forgets what somebody took.
func release() {
	clear(held)
	held = held[:0]
}

// done ends a call whose result the host has read.
func done() {
	release()
	busy = false
	clear(kept[:])
}

func put(text string) (at, length uint32) {
	return uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))), uint32(len(text))
}

// refuse writes a failure into the return area.
func refuse(err error) {
	failure := host.FailureOf(err)
	kept = [3]string{failure.Code, failure.Message, failure.Trace}
	result[0] = 1
	for i := range kept {
		kept[i] = strings.ToValidUTF8(kept[i], "\uFFFD")
		result[1+2*i], result[2+2*i] = put(kept[i])
	}
	result[7] = option(failure.Again)
}

//go:wasmexport thalweg:udf/guest@1.0.0#describe
func describe() unsafe.Pointer {
	if described == "" {
		described = host.Describe(host.Functions)
	}
	result[0], result[1] = put(described)
	return unsafe.Pointer(&result)
}

//go:wasmexport thalweg:udf/guest@1.0.0#open
func open(name, nameLength, plan, planLength uint32) unsafe.Pointer {
	instance, err := opened(string(taken(name, nameLength)), taken(plan, planLength))
	if err != nil {
		refuse(err)
		return unsafe.Pointer(&result)
	}
	free := len(instances)
	for i := range instances {
		if instances[i] == nil {
			free = i
			break
		}
	}
	if free == len(instances) {
		instances = append(instances, nil)
	}
	instances[free] = instance
	result[0], result[1] = 0, uint32(free)
	flush()
	return unsafe.Pointer(&result)
}

func opened(name string, plan []byte) (host.Instance, error) {
	function, err := host.Find(host.Functions, name)
	if err != nil {
		return nil, err
	}
	var in frame.Input
	if err := in.Parse(plan); err != nil {
		return nil, host.BadFrame("plan")
	}
	moment(in.Now, in.Seed)
	enter()
	defer leave()
	return function.Open(in.Config, imports{})
}

//go:wasmexport thalweg:udf/guest@1.0.0#call
func call(instance, op, input, inputLength uint32) unsafe.Pointer {
	if int(instance) >= len(instances) || instances[instance] == nil {
		refuse(&host.Failure{Code: "NO_INSTANCE", Message: fmt.Sprintf("instance %d is not open", instance)})
		return unsafe.Pointer(&result)
	}
	var err error
	enter()
	output, err = instances[instance].Call(op, taken(input, inputLength))
	leave()
	if err != nil {
		refuse(err)
	} else {
		at, length := address(output)
		result[0], result[1], result[2] = 0, uint32(uintptr(at)), length
	}
	flush()
	return unsafe.Pointer(&result)
}

//go:wasmexport thalweg:udf/guest@1.0.0#close
func closeInstance(instance uint32) {
	if int(instance) < len(instances) && instances[instance] != nil {
		instances[instance].Close()
		instances[instance] = nil
	}
	flush()
}

//go:wasmexport cabi_post_thalweg:udf/guest@1.0.0#describe
func describeDone(unsafe.Pointer) { done() }

//go:wasmexport cabi_post_thalweg:udf/guest@1.0.0#open
func openDone(unsafe.Pointer) { done() }

//go:wasmexport cabi_post_thalweg:udf/guest@1.0.0#call
func callDone(unsafe.Pointer) { done() }

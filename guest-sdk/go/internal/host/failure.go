package host

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// Failure is why an element, a call or an instance could not be dealt with.
type Failure struct {
	// Code is stable, short, upper case: what programs and counters look at.
	Code string
	// Message is one sentence for a person.
	Message string
	// Trace is the stack of a panic.
	Trace string
	// Again says that the same call may succeed when it is made again.
	Again bool
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// FailureOf makes a failure of any error; one that is none has the code ERROR.
func FailureOf(err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return &Failure{Code: "ERROR", Message: err.Error()}
}

// Recovered makes a failure of a panic, with the stack from the place of the panic on.
func Recovered(cause any) *Failure {
	stack := string(debug.Stack())
	// in front stand the goroutine, and what recovered and panicked again; two lines are the call of panic itself
	if at := strings.LastIndex(stack, "\npanic("); at >= 0 {
		lines := strings.SplitN(stack[at+1:], "\n", 3)
		stack = lines[len(lines)-1]
	}
	return &Failure{Code: "PANIC", Message: "panic: " + fmt.Sprint(cause), Trace: stack}
}

// BadFrame is the failure of a call whose frame is broken.
func BadFrame(what string) *Failure {
	return &Failure{Code: "BAD_FRAME", Message: "the " + what + " of the host is broken"}
}

// NoOperation is the failure of a call that a kind of function does not know.
func NoOperation(kind string, op uint32) *Failure {
	return &Failure{Code: "NO_OPERATION", Message: fmt.Sprintf("a %s has no operation %d", kind, op)}
}

// Find gives the function of a name.
func Find(functions []Function, name string) (Function, error) {
	for _, function := range functions {
		if function.Name == name {
			return function, nil
		}
	}
	return Function{}, &Failure{Code: "NO_FUNCTION", Message: fmt.Sprintf("there is no function %q", name)}
}

// Version is that of the SDK.
const Version = "1.0.0"

// Describe gives the description of a component with these functions.
func Describe(functions []Function) string {
	var out strings.Builder
	out.WriteString(`{"sdk":"go ` + Version + `","functions":[`)
	for i, function := range functions {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(function.JSON)
	}
	out.WriteString("]}")
	return out.String()
}

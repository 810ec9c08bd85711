// Package thalweg is for functions of Beam pipelines that run on Thalweg as WebAssembly components.
//
// A function is a struct. Its fields are its configuration, outputs, state, timers, side inputs, tables and metrics; its method is what it does:
//
//	type Split struct {
//		Words thalweg.Output[string]
//	}
//
//	func (f *Split) Process(ctx *thalweg.Context, line string) error {
//		for _, word := range strings.Fields(line) {
//			f.Words.Emit(word)
//		}
//		return nil
//	}
//
//	func init() { thalweg.RegisterDoFn("split", &Split{}) }
//
//	func main() {}
//
// Fields of the types of this package have a name in the description: that of the tag `thalweg:"name"`, else the field's own in small
// letters with underscores. Other exported fields are configuration: the JSON text `config` of the pipeline is decoded into a copy of
// the registered struct, whose values are the defaults.
//
// What to know first:
//   - Return an error for bad input. Only that element fails: what it did to state, timers, outputs and metrics is taken back. A panic ends the whole
//     call, with its stack.
//   - time.Now is the processing time of the call and stands still in it. No goroutine outlives a call, and a call that waits for ever is a
//     deadlock. There are no files, sockets, arguments and, without [Capable], no environment.
//   - A call that fails is made again. It sees the same time, the same [Context.Random] and the same crypto/rand, but math/rand and the order of
//     a map in a range differ: do not let outputs depend on them.
//   - Fields are a cache. What has to survive stands in state.
//   - Slices and strings of an element are its own and may be kept; an [Iter] is good for its call alone.
//
// Package thalwegtest runs functions in an ordinary test, without Wasm.
package thalweg

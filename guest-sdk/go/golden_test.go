package thalweg

// The golden frames of the contract, wit/golden: this SDK reads the input frame that the host writes, and gives for it the output frame, byte for
// byte, that the host reads. Damaged frames are refused and never end the process.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"thalweg/internal/host"
)

// golden uses every section of the layout that a DoFn has.
type golden struct {
	A     int
	Main  Output[KV[string, int64]]
	Notes Output[string]
	Total Value[int64] `thalweg:"total,eager"`
	Last  Map[string, int64]
	Gap   EventTimer
	Names Table[string, string] `thalweg:"names,joined"`
	Seen  Counter
	Sizes Distribution
}

func (g *golden) Open() error {
	if g.A != 1 {
		return Fail("CONFIG", "a is %d", g.A)
	}
	return nil
}

func (g *golden) Process(ctx *Context, element KV[string, int64]) error {
	n := element.Value
	total := g.Total.Or(0) + n
	g.Total.Set(total)
	g.Last.Put("n", n)
	g.Gap.Tag("t").OutputAt(3).Set(int64(ctx.Time()) + 8)
	g.Seen.Add(1)
	if n < 0 {
		return Fail("NEGATIVE", "below nothing")
	}
	g.Sizes.Report(n)
	g.Main.Emit(KV[string, int64]{Key: element.Key, Value: total})
	random := ctx.Random()
	name, known := g.Names.Joined()
	if !known {
		name = "-"
	}
	// as the Rust SDK writes a window
	window, _ := ctx.Window().Interval()
	note := fmt.Sprintf("%s Interval(Interval { start: EventTime(%d), end: EventTime(%d) }) [%s] %d", name, window.Start, window.End,
		strings.Join(strings.Fields(strings.Trim(fmt.Sprint(ctx.Pane()), "[]")), ", "), random)
	g.Notes.EmitAt(EventTime(ctx.NowMS()), note)
	return nil
}

func (g *golden) OnTimer(ctx *Context, timer Fired) error {
	g.Notes.Emit(fmt.Sprintf("%s %d", timer.Tag(), timer.FireMS()))
	g.Gap.Tag("t").Clear()
	return nil
}

func (g *golden) OnWindowExpiration(ctx *Context) error {
	windows := []Window{Interval{20, 30}.Window(), Global}
	g.Main.EmitIn(19, windows, KV[string, int64]{Key: Key[string](ctx), Value: -1})
	g.Total.Clear()
	g.Last.Clear()
	return nil
}

// nobody is a host that nobody asks.
type nobody struct{}

func (nobody) Log(uint8, int64, string)                       {}
func (nobody) Emit([]byte)                                    {}
func (nobody) Read(uint32, []uint32) []byte                   { return nil }
func (nobody) Lookup(uint32, []byte) []byte                   { return nil }
func (nobody) Scan(uint32, uint32, []byte, []byte) host.Page  { return host.Page{} }
func (nobody) Side(uint32, uint32, *[]byte, []byte) host.Page { return host.Page{} }
func (nobody) Iterable([]byte) host.Page                      { return host.Page{} }
func (nobody) SideKeys(uint32, uint32, []byte) host.Page      { return host.Page{} }
func (nobody) Table(uint32, []byte) []byte                    { return nil }
func (nobody) Moment(int64, uint64)                           {}

func file(t *testing.T, name string) []byte {
	t.Helper()
	found, err := os.ReadFile(filepath.Join("../../wit/golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func openGolden(t *testing.T) host.Instance {
	t.Helper()
	instance, err := DoFnOf[KV[string, int64]]("golden", &golden{}).Open([]byte(`{"a":1}`), nobody{})
	if err != nil {
		t.Fatal(err)
	}
	return instance
}

func TestTheGoldenInputGivesTheGoldenOutput(t *testing.T) {
	output, err := openGolden(t).Call(0, file(t, "input.frame"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(output, file(t, "output.frame")) {
		t.Fatalf("%q\nand not\n%q", output, file(t, "output.frame"))
	}
}

func TestTheDescriptionOfTheGoldenFunctionIsTheGoldenOne(t *testing.T) {
	wanted := strings.TrimSpace(string(file(t, "description.json")))
	_, wanted, _ = strings.Cut(wanted, `"functions"`)
	found := host.Describe([]host.Function{DoFnOf[KV[string, int64]]("golden", &golden{})})
	if _, found, _ = strings.Cut(found, `"functions"`); found != wanted {
		t.Fatalf("%s\nand not\n%s", found, wanted)
	}
}

func TestDamagedInputFramesEndTheCallAndNothingElse(t *testing.T) {
	whole, instance, refused := file(t, "input.frame"), openGolden(t), 0
	try := func(frame []byte) {
		if _, err := instance.Call(0, frame); err != nil {
			refused++
			var failure *Failure
			if !errors.As(err, &failure) || failure.Code != "BAD_FRAME" {
				t.Fatal(err)
			}
		}
	}
	for end := range whole {
		try(whole[:end])
	}
	random := uint64(1)
	for range 20_000 {
		frame := bytes.Clone(whole)
		for range 3 {
			random = random*6_364_136_223_846_793_005 + 1_442_695_040_888_963_407
			frame[(random>>33)%uint64(len(frame))] = byte(random >> 20)
		}
		try(frame)
	}
	if refused < 1000 {
		t.Fatal(refused)
	}
	output, err := instance.Call(0, whole)
	if err != nil || !bytes.Equal(output, file(t, "output.frame")) {
		t.Fatal("the instance is the worse for it", err)
	}
}

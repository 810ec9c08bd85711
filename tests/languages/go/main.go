// Beam programs for a portable runner. One program a run: --program names it, --output the file for its lines. What each
// must write stands in tests/tests/languages/oracle.rs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sort"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
)

var (
	program = flag.String("program", "", "which program")
	input   = flag.String("input", "", "a text")
	output  = flag.String("output", "", "file for the lines")
)

// A program gives the lines it found.
var programs = map[string]func(s beam.Scope) beam.PCollection{
	"wordcount":   wordcount,
	"wasm":        wasm,
	"windows":     windows,
	"windowed":    windowed,
	"sessions":    sessions,
	"sides":       sides,
	"cogroup":     cogroup,
	"combine":     combine,
	"flatten":     flatten,
	"state":       states,
	"timers":      timerFamilies,
	"processing":  processingTimers,
	"sdf":         splittable,
	"checkpoint":  checkpoint,
	"test_stream": testStream,
}

func main() {
	flag.Parse()
	beam.Init()
	ctx := context.Background()
	build, known := programs[*program]
	if !known {
		names := []string{}
		for name := range programs {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "programs:", names)
		os.Exit(2)
	}
	p, s := beam.NewPipelineWithRoot()
	// a file is written once per window
	lines := beam.WindowInto(s, window.NewGlobalWindows(), build(s))
	textio.Write(s, *output, lines)
	result, err := beamx.RunWithMetrics(ctx, p)
	if err != nil {
		log.Exitf(ctx, "%v", err)
	}
	for _, c := range result.Metrics().AllMetrics().Counters() {
		if c.Name() == "seen" {
			fmt.Printf("%s seen %d\n", *program, c.Committed)
		}
	}
}

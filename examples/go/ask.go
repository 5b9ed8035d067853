// Package export_wasi_cli_run asks a model, and prints its answer as it comes.
package export_wasi_cli_run

import (
	"fmt"
	"os"
	"strings"
	generation "wit_component/llm_wasi_llm_generation"
	models "wit_component/llm_wasi_llm_models"
	types "wit_component/llm_wasi_llm_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Run is the program; an error is exit status 1.
func Run() wit.Result[wit.Unit, wit.Unit] {
	model := models.ModelOpen(wit.None[string](), models.ModelOptions{})
	if model.IsErr() {
		return fail(model.Err())
	}
	question := []generation.Part{generation.MakePartText(strings.Join(os.Args[1:], " "))}
	messages := []generation.Message{{Role: generation.RoleUser, Content: question}}
	stream := generation.StreamChat(model.Ok(), messages, generation.Options{})
	if stream.IsErr() {
		return fail(stream.Err())
	}
	for {
		next := stream.Ok().Next()
		if next.IsErr() {
			return fail(next.Err())
		} else if next.Ok().IsNone() {
			return wit.Ok[wit.Unit, wit.Unit](wit.Unit{})
		}
		switch event := next.Ok().Some(); event.Tag() {
		case generation.EventText:
			fmt.Print(event.Text().Text)
		case generation.EventToolCall:
			fmt.Printf("%s(%s)", event.ToolCall().Name, event.ToolCall().Arguments)
		case generation.EventFinish:
			usage := event.Finish().Usage
			rate := float64(max(usage.GeneratedTokens, 1)-1) / float64(usage.TotalTime-usage.FirstTokenTime) * 1e6
			fmt.Println()
			fmt.Fprintf(os.Stderr, "%d tokens, %.1f per second\n", usage.GeneratedTokens, rate)
		}
	}
}

func fail(err types.Error) wit.Result[wit.Unit, wit.Unit] {
	words := [...]string{"model not found", "context full", "prompt too long", "invalid request", "unsupported", "busy",
		"cancelled", "timeout", "backend"}
	fmt.Fprintf(os.Stderr, "error: %s: %+v\n", words[err.Tag()], err)
	return wit.Err[wit.Unit, wit.Unit](wit.Unit{})
}

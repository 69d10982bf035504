// Checks what deploys the mall, without a container engine or a cluster:
//
//	check compose FILE         loads a Compose file with every profile, as Docker Compose does
//	check kubernetes FILE...   decodes manifests strictly into the types of k8s.io/api
//	check dashboard FILE       prints the expressions of a Grafana dashboard as rules, for `promtool check rules`
//
// Ends with 1 and a line for each fault.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: check compose|kubernetes|dashboard FILE...")
	}
	switch args[0] {
	case "compose":
		return compose(args[1])
	case "kubernetes":
		return kubernetes(args[1:])
	case "dashboard":
		return dashboard(args[1])
	}
	return fmt.Errorf("no such check: %s", args[0])
}

func compose(file string) error {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	var faults []error
	for name, service := range project.Services {
		for other, dependency := range service.DependsOn {
			target := project.Services[other]
			if dependency.Condition == "service_healthy" && target.HealthCheck == nil {
				faults = append(faults, fmt.Errorf("%s waits for the health of %s, which has no health check", name, other))
			}
			// Otherwise a profile starts a service without what it needs.
			for _, profile := range service.Profiles {
				if len(target.Profiles) > 0 && !contains(target.Profiles, profile) {
					faults = append(faults, fmt.Errorf("%s depends on %s, which profile %s does not start", name, other, profile))
				}
			}
		}
	}
	return errors.Join(faults...)
}

func contains(list []string, item string) bool {
	for _, one := range list {
		if one == item {
			return true
		}
	}
	return false
}

func kubernetes(files []string) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var faults []error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if len(bytes.TrimSpace(document)) == 0 {
				continue
			}
			if _, _, err := decoder.Decode(document, nil, nil); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", file, err))
			}
		}
	}
	return errors.Join(faults...)
}

type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel
}

var (
	intervals = regexp.MustCompile(`\$__(rate_interval|interval|range)\b|\$\{__(rate_interval|interval|range)\}`)
	variables = regexp.MustCompile(`\$\{?\w+(:\w+)?\}?`)
)

func dashboard(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var board struct{ Panels []panel }
	if err := json.Unmarshal(text, &board); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	type rule struct {
		Record string            `json:"record"`
		Expr   string            `json:"expr"`
		Labels map[string]string `json:"labels"`
	}
	var rules []rule
	var add func([]panel)
	add = func(panels []panel) {
		for _, panel := range panels {
			for _, target := range panel.Targets {
				expr := variables.ReplaceAllString(intervals.ReplaceAllString(target.Expr, "1m"), "x")
				name := fmt.Sprintf("panel:%d", len(rules))
				rules = append(rules, rule{name, expr, map[string]string{"panel": panel.Title}})
			}
			add(panel.Panels)
		}
	}
	add(board.Panels)
	if len(rules) == 0 {
		return fmt.Errorf("%s: no panel has an expression", file)
	}
	groups := map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}}
	return json.NewEncoder(os.Stdout).Encode(groups)
}

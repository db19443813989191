package runbooks

import "time"

// The documents are runbooks as they are spelled. Their keys are those of
// runbook.schema.json.

type runbookDoc struct {
	APIVersion string        `yaml:"apiVersion,required"`
	Kind       string        `yaml:"kind,required"`
	Metadata   metadataDoc   `yaml:"metadata,required"`
	Match      matchDoc      `yaml:"match,required"`
	Changes    []watchDoc    `yaml:"changes"`
	Options    []optionDoc   `yaml:"options,required"`
	Evidence   []evidenceDoc `yaml:"evidence"`
	Recovery   *recoveryDoc  `yaml:"recovery"`
}

type metadataDoc struct {
	Name        string `yaml:"name,required"`
	Description string `yaml:"description"`
	Owner       string `yaml:"owner,required"`
	Reviewed    string `yaml:"reviewed,required"`
}

type matchDoc struct {
	Services []string `yaml:"services,required"`
}

type targetDoc struct {
	System string `yaml:"system,required"`
	Path   string `yaml:"path,required"`
}

type watchDoc struct {
	Source    string    `yaml:"source,required"`
	Target    targetDoc `yaml:"target,required"`
	Kind      string    `yaml:"kind"`
	NoInverse string    `yaml:"no_inverse"`
}

type optionDoc struct {
	Name         string        `yaml:"name,required"`
	Title        string        `yaml:"title,required"`
	Strategy     string        `yaml:"strategy,required"`
	Undoes       []string      `yaml:"undoes"`
	Actions      []actionDoc   `yaml:"actions,required"`
	SharedData   []string      `yaml:"shared_data"`
	Global       string        `yaml:"global"`
	Rung         string        `yaml:"rung,required"`
	ExpectedTime time.Duration `yaml:"expected_time,required"`
	Risk         string        `yaml:"risk"`
	WontRevert   []string      `yaml:"wont_revert"`
}

type actionDoc struct {
	Kind      string        `yaml:"kind,required"`
	Target    targetDoc     `yaml:"target,required"`
	Service   string        `yaml:"service"`
	Revision  string        `yaml:"revision"`
	MaxTime   time.Duration `yaml:"max_time"`
	OnFailure string        `yaml:"on_failure"`
}

type evidenceDoc struct {
	Collector string            `yaml:"collector,required"`
	Target    targetDoc         `yaml:"target,required"`
	Params    map[string]string `yaml:"params"`
}

type recoveryDoc struct {
	SLIs           []sliDoc      `yaml:"slis,required"`
	Data           []dataDoc     `yaml:"data"`
	Warmup         time.Duration `yaml:"warmup"`
	Short          time.Duration `yaml:"short"`
	Long           time.Duration `yaml:"long"`
	Step           time.Duration `yaml:"step"`
	BaselineLength time.Duration `yaml:"baseline_length"`
	BaselineGap    time.Duration `yaml:"baseline_gap"`
	Hold           time.Duration `yaml:"hold"`
	Deadline       time.Duration `yaml:"deadline"`
}

type dataDoc struct {
	Name   string `yaml:"name,required"`
	System string `yaml:"system,required"`
	SQL    string `yaml:"sql"`
	PromQL string `yaml:"promql"`
	AtMost int    `yaml:"at_most"`
}

type sliDoc struct {
	Name       string  `yaml:"name,required"`
	System     string  `yaml:"system,required"`
	Query      string  `yaml:"query,required"`
	Unit       string  `yaml:"unit,required"`
	Objective  string  `yaml:"objective,required"`
	Tolerance  float64 `yaml:"tolerance"`
	Traffic    string  `yaml:"traffic"`
	MinTraffic float64 `yaml:"min_traffic"`
	Bad        string  `yaml:"bad"`
	Total      string  `yaml:"total"`
	MinPoints  int     `yaml:"min_points"`
}

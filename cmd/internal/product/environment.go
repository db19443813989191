package product

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environmentPrefix begins every variable that overrides the file.
const environmentPrefix = "BACKOUT_"

// commandVariables belong to the CLI, not to the configuration.
var commandVariables = []string{"BACKOUT_CONFIG", "BACKOUT_URL", "BACKOUT_TOKEN_FILE"}

// testVariablePrefix begins the variables that only tests read.
const testVariablePrefix = "BACKOUT_TEST_"

// override sets fields from BACKOUT_* variables. An unknown one is an error: a
// misspelt override would be lost silently.
func override(c *Config, env []string) error {
	fields := map[string]reflect.Value{}
	collectFields(reflect.ValueOf(c).Elem(), environmentPrefix, fields)
	var errs []error
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, environmentPrefix) || strings.HasPrefix(name, testVariablePrefix) {
			continue
		}
		f, known := fields[name]
		if !known {
			if !slices.Contains(commandVariables, name) {
				errs = append(errs, fmt.Errorf("environment variable %s overrides nothing", name))
			}
			continue
		}
		if err := setField(f, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// collectFields names every field that one variable can hold.
func collectFields(v reflect.Value, prefix string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		name := prefix + strings.ToUpper(tag)
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Struct:
			collectFields(f, name+"_", into)
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
			into[name] = f
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.String {
				into[name] = f
			}
		default:
		}
	}
}

func setField(f reflect.Value, value string) error {
	switch {
	case f.Type() == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 90s", value)
		}
		f.SetInt(int64(d))
	case f.Kind() == reflect.String:
		f.SetString(value)
	case f.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is not true or false", value)
		}
		f.SetBool(b)
	case f.Kind() == reflect.Int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		f.SetInt(int64(n))
	default:
		f.Set(reflect.ValueOf(strings.Split(value, ",")))
	}
	return nil
}

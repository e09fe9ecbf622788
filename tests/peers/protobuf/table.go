package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// special are the types whose JSON form is not that of their fields.
var special = map[reflect.Type]string{
	reflect.TypeFor[meta.Time]():                                  "t",
	reflect.TypeFor[meta.MicroTime]():                             "u",
	reflect.TypeFor[resource.Quantity]():                          "q",
	reflect.TypeFor[intstr.IntOrString]():                         "x",
	reflect.TypeFor[runtime.RawExtension]():                       "r",
	reflect.TypeFor[meta.FieldsV1]():                              "r",
	reflect.TypeFor[apiextensions.JSON]():                         "r",
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrBool]():        "B",
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrArray]():       "A",
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrStringArray](): "S",
}

// marshaler is what has a protobuf form.
type marshaler interface {
	MarshalToSizedBuffer([]byte) (int, error)
}

// writeTable writes every message that the kinds of the groups and versions of the table of types
// at path reach; core/api/src/protobuf/table.rs tells of the form.
func writeTable(types *runtime.Scheme, path string) error {
	served, err := servedVersions(path)
	if err != nil {
		return err
	}
	kinds := map[reflect.Type][]string{}
	for kind, of := range types.AllKnownTypes() {
		version := kind.Group + "/" + kind.Version
		isMeta := of.PkgPath() == reflect.TypeFor[meta.Status]().PkgPath()
		name := version + "/" + kind.Kind
		switch {
		case isMeta && kind.Kind == of.Name() && kind.Version == "v1":
			name = "meta.k8s.io/v1/" + kind.Kind
		case isMeta || !served[version]:
			continue
		}
		if _, ok := reflect.New(of).Interface().(marshaler); ok && !contains(kinds[of], name) {
			kinds[of] = append(kinds[of], name)
		}
	}
	messages := map[string]string{}
	for of := range kinds {
		describe(of, messages)
	}
	for of, names := range kinds {
		sort.Strings(names)
		head := name(of)
		messages[head] = strings.Replace(messages[head], "\n", " ="+strings.Join(names, " =")+"\n", 1)
	}
	all := make([]string, 0, len(messages))
	for _, message := range messages {
		all = append(all, message)
	}
	sort.Strings(all)
	fmt.Print(strings.Join(all, ""))
	return nil
}

func contains(all []string, one string) bool {
	for _, other := range all {
		if other == one {
			return true
		}
	}
	return false
}

func servedVersions(path string) (map[string]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	served := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		for _, word := range strings.Fields(lines.Text()) {
			parts := strings.Split(strings.TrimPrefix(word, "="), "/")
			if strings.HasPrefix(word, "=") && len(parts) == 3 {
				served[parts[0]+"/"+parts[1]] = true
			}
		}
	}
	return served, nil
}

func name(of reflect.Type) string {
	parts := strings.Split(of.PkgPath(), "/")
	return strings.Join(append(parts[len(parts)-2:], of.Name()), ".")
}

func describe(of reflect.Type, messages map[string]string) {
	if _, done := messages[name(of)]; done {
		return
	}
	messages[name(of)] = ""
	text := name(of) + "\n"
	for i := range of.NumField() {
		field := of.Field(i)
		wire := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(wire) < 2 {
			continue
		}
		if _, err := strconv.Atoi(wire[1]); err != nil {
			panic(fmt.Sprintf("%s.%s: %q", name(of), field.Name, wire))
		}
		tag := strings.Split(field.Tag.Get("json"), ",")
		options := " " + strings.Join(tag[1:], " ") + " "
		flags := ""
		isStruct := field.Type.Kind() == reflect.Struct
		switch {
		case tag[0] == "" && strings.Contains(options, " inline "):
			tag[0] = "*"
		case isStruct && strings.Contains(options, " omitzero "),
			!isStruct && field.Type.Kind() != reflect.Pointer && strings.Contains(options, " omitempty "):
			flags = " z"
		}
		text += fmt.Sprintf(" %s %s %s%s\n", wire[1], tag[0], expression(field.Type, messages), flags)
	}
	messages[name(of)] = text
}

// expression writes a type, and describes the messages that it needs.
func expression(of reflect.Type, messages map[string]string) string {
	if of.Kind() == reflect.Pointer {
		return expression(of.Elem(), messages)
	}
	if word, ok := special[of]; ok {
		if strings.ContainsAny(word, "BAS") {
			describe(reflect.TypeFor[apiextensions.JSONSchemaProps](), messages)
		}
		return word
	}
	_, isMessage := reflect.New(of).Interface().(marshaler)
	switch of.Kind() {
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return "i"
	case reflect.Float64:
		return "d"
	case reflect.Struct:
		describe(of, messages)
		return "@" + name(of)
	case reflect.Map:
		if of.Key().Kind() == reflect.String && !isMessage {
			return "{" + expression(of.Elem(), messages)
		}
	case reflect.Slice:
		switch {
		case of.Elem().Kind() == reflect.Uint8:
			return "y"
		case isMessage && of.Elem().Kind() == reflect.String:
			return "w"
		case !isMessage:
			return "[" + expression(of.Elem(), messages)
		}
	}
	panic("no word for " + of.String())
}

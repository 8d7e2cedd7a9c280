package compose

// Health checks, replicas and limits.

func (w *walker) healthKey(path string, v *value) any { return nested(healthRules)(w, path, v) }

func (w *walker) deployKey(path string, v *value) any { return nested(deployRules)(w, path, v) }

// testKey judges the form of a check: text for a shell, or a list that begins with NONE, CMD or CMD-SHELL.
func (w *walker) testKey(path string, v *value) any {
	if v.kind == scalar {
		return w.settle(path, v)
	}
	if v.kind != list || len(v.items) == 0 {
		w.wrongKind(path, v, "text or a list")
		return nil
	}
	for _, item := range v.items {
		if item.kind == scalar && item.tag != "!!str" { // ["CMD", "test", 1]: harmless, and people write it
			item.tag = "!!str"
		}
	}
	switch first := v.items[0].text; {
	case first == "NONE" && len(v.items) == 1, first == "CMD" && len(v.items) > 1, first == "CMD-SHELL" && len(v.items) == 2:
	default:
		w.problem(v.line, path, "invalid_value", "A health check begins with CMD or CMD-SHELL followed by a command, or is NONE.")
	}
	return w.texts(path, v)
}

"""The command line: `t2igan VERB --flag=value`. One file a verb, registered in `t2igan.cli.verbs`."""

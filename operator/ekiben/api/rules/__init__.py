"""The rules between fields, in CEL: each sentence is what a user reads when `kubectl apply` refuses.

One module for each part of the spec, and `model` for what two parts ask of each other. Rules about one string
alone stand beside its pattern. There are no transition rules: whatever is valid may be changed into whatever
is valid, because the operator defines what every edit means.
"""

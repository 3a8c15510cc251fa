{{- define "decant.name" -}}
{{- if contains "decant" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-decant{{ end -}}
{{- end }}

{{- define "decant.home" -}}
{{- .Values.home.existingClaim | default (printf "%s-home" (include "decant.name" .)) -}}
{{- end }}

{{- /* Of a part: (list $ "api"). */ -}}
{{- define "decant.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: decant
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "decant.labels" -}}
{{- $root := index . 0 -}}
{{ include "decant.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- /* One key of the Secret as a variable: (list $ variable key). */ -}}
{{- define "decant.secret" -}}
- name: {{ index . 1 }}
  valueFrom: {secretKeyRef: {name: {{ (index . 0).Values.secret }}, key: {{ index . 2 }}}}
{{- end }}

{{- /* Settings of all parts and of one: (list $ part-values). */ -}}
{{- define "decant.env" -}}
{{- $root := index . 0 -}}
{{ include "decant.secret" (list $root "DECANT_SECRET" "DECANT_SECRET") }}
- {name: DECANT_CONTRACTS, value: {{ $root.Values.contracts.path | quote }}}
{{- if $root.Values.data.existingClaim }}
- {name: DECANT_DATA, value: /data}
{{- end }}
{{- with $root.Values.store.url }}
- {name: DECANT_STORE_URL, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := merge (dict) ((index . 1).env | default dict) $root.Values.env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{- /* What every pod has beside its container: (list $ part). */ -}}
{{- define "decant.pod" -}}
{{- $root := index . 0 -}}
# The variables of service links would be unknown settings, which production rejects.
enableServiceLinks: false
automountServiceAccountToken: false
{{- with $root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {}
  - name: home
    {{- if $root.Values.store.url }}
    emptyDir: {}
    {{- else }}
    persistentVolumeClaim: {claimName: {{ include "decant.home" $root }}}
    {{- end }}
  {{- with $root.Values.contracts.configMap }}
  - name: contracts
    configMap: {name: {{ . }}}
  {{- end }}
  {{- with $root.Values.data.existingClaim }}
  - name: data
    persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
  {{- end }}
{{- end }}

{{- /* What every container has: (list $ tag). */ -}}
{{- define "decant.container" -}}
{{- $root := index . 0 -}}
image: {{ printf "%s:%s" $root.Values.image.repository (index . 1 | default $root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- with $root.Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: home, mountPath: /var/lib/decant}
  {{- if $root.Values.contracts.configMap }}
  - {name: contracts, mountPath: {{ $root.Values.contracts.path }}, readOnly: true}
  {{- end }}
  {{- if $root.Values.data.existingClaim }}
  - {name: data, mountPath: /data, readOnly: true}
  {{- end }}
{{- end }}

{{- define "decant.annotations" -}}
{{- $annotations := merge (dict) .Values.podAnnotations -}}
{{- if .Values.contracts.revision }}{{ $_ := set $annotations "decant/contracts" .Values.contracts.revision }}{{ end -}}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

echo extracting {{ ds }} with {{ params.threads }} threads
{% include "common.sh" %}

"""A small sequencing pipeline: four samples, four steps each, one report. Needs nothing but coreutils and awk.

    rqflow submit examples/sequencing.py --run --follow
    rqflow submit examples/sequencing.py --run -p workdir=/data/demo

Each sample goes through reads -> trim -> align -> stats; the steps of a sample pass files on, samples run side by side. The files are in
`workdir`/RUN_ID; without `workdir`, in the folder work/sequencing of RQFLOW_HOME.
"""

from rqflow import DAG, BashOperator, Param, TaskGroup

SAMPLES = {"liver": 11, "kidney": 23, "spleen": 37, "brain": 41}

# Every step begins in the folder of its run. WORKDIR comes as an environment variable, so any path is safe.
IN_FOLDER = """
set -eu
folder="${WORKDIR:-${RQFLOW_HOME:-$HOME/rqflow}/work/sequencing}/$RQFLOW_RUN_ID"
mkdir -p "$folder"
cd "$folder"
"""

REFERENCE = IN_FOLDER + r"""
awk 'BEGIN { srand(1); for (i = 0; i < 2000; i++) printf "%s", substr("ACGT", int(rand() * 4) + 1, 1); print "" }' > reference.txt
echo "reference: $(($(wc -c < reference.txt) - 1)) bases"
"""

# Reads are pieces of the reference. Towards the end of a read the quality of its bases falls; a few are wrong that look right.
READS = IN_FOLDER + r"""
awk -v seed="$SEED" -v reads="$READS" '
  NR == 1 {
    srand(seed)
    for (r = 1; r <= reads; r++) {
      start = int(rand() * (length($0) - 60)) + 1
      bases = ""; quality = ""
      for (i = 0; i < 60; i++) {
        good = rand() * 60 > i * 0.6
        bases = bases (rand() < (good ? 0.995 : 0.7) ? substr($0, start + i, 1) : substr("ACGT", int(rand() * 4) + 1, 1))
        quality = quality (good ? "I" : "#")
      }
      print "@" r; print bases; print "+"; print quality
    }
  }' reference.txt > "$SAMPLE.fastq"
echo "$SAMPLE: $(($(wc -l < "$SAMPLE.fastq") / 4)) reads"
"""

TRIM = IN_FOLDER + r"""
awk '
  NR % 4 == 1 { name = $0 }
  NR % 4 == 2 { bases = $0 }
  NR % 4 == 0 {
    cut = match($0, /#+/) ? RSTART - 1 : length($0)
    if (cut >= 12) { print name; print substr(bases, 1, cut); print "+"; print substr($0, 1, cut) }
  }' "$SAMPLE.fastq" > "$SAMPLE.trimmed.fastq"
echo "$SAMPLE: $(($(wc -l < "$SAMPLE.trimmed.fastq") / 4)) reads kept"
"""

ALIGN = IN_FOLDER + r"""
awk '
  NR == FNR { reference = $0; next }
  FNR % 4 == 1 { name = substr($0, 2) }
  FNR % 4 == 2 { place = index(reference, $0); print name "\t" place "\t" length($0) }
' reference.txt "$SAMPLE.trimmed.fastq" > "$SAMPLE.aligned.tsv"
echo "$SAMPLE: $(awk '$2 > 0' "$SAMPLE.aligned.tsv" | wc -l) reads aligned"
"""

STATS = IN_FOLDER + r"""
all=$(($(wc -l < "$SAMPLE.fastq") / 4))
awk -v sample="$SAMPLE" -v all="$all" '
  $2 > 0 { aligned++; bases += $3; for (i = $2; i < $2 + $3; i++) seen[i] = 1 }
  END {
    for (i in seen) covered++
    printf "%s\t%d\t%d\t%.1f\t%.1f\n", sample, all, aligned, 100 * aligned / all, 100 * covered / 2000
  }' "$SAMPLE.aligned.tsv" > "$SAMPLE.stats.tsv"
cat "$SAMPLE.stats.tsv"
"""

REPORT = IN_FOLDER + r"""
{ printf 'sample\treads\taligned\taligned %%\tcovered %%\n'; sort *.stats.tsv; } > report.tsv
awk -F '\t' '{ printf "%-10s %8s %8s %10s %10s\n", $1, $2, $3, $4, $5 }' report.tsv
echo "report: $folder/report.tsv"
"""

with DAG(
    "sequencing",
    description="Reads of four samples, aligned and counted",
    schedule="@once",
    params={
        "workdir": Param("", "Folder for the files of all runs", type="string"),
        "reads": Param(2000, "Reads of each sample", type="integer", minimum=1, maximum=100_000),
    },
    default_args={"owner": "lab"},
    tags=["example"],
) as dag:
    dag.doc_md = __doc__

    def step(task_id: str, command: str, **env: str) -> BashOperator:
        """One step of the pipeline."""
        return BashOperator(task_id=task_id, bash_command=command, env={"WORKDIR": "{{ params.workdir }}", "READS": "{{ params.reads }}", **env})

    reference = step("reference", REFERENCE)
    report = step("report", REPORT)
    for sample, seed in SAMPLES.items():
        with TaskGroup(sample, tooltip=f"everything about {sample}"):
            about = {"SAMPLE": sample, "SEED": str(seed)}
            reads = step("reads", READS, **about)
            stats = step("stats", STATS, **about)
            reference >> reads >> step("trim", TRIM, **about) >> step("align", ALIGN, **about) >> stats >> report
